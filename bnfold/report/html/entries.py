"""The affine nodes of one model in the order of the graph, each with its fate and its place on the page."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TypeAlias

from bnfold.outcome import Fold, Kept, Lowered
from bnfold.report.checks import FoldCheck, fold_checks
from bnfold.report.model import ReportData


@dataclass(frozen=True)
class Fate:
    """What became of a node, as the page names it.

    Attributes:
        kind: the class in the style sheet, and what the filter asks for.
        name: for people.
    """

    kind: str
    name: str


FOLDED = Fate("folded", "folded")
MERGED = Fate("merged", "merged")
REMOVED = Fate("removed", "identity removed")
LOWERED = Fate("lowered", "lowered")
KEPT = Fate("kept", "left")
FAILED = Fate("failed", "failed the check")
FATES = (FOLDED, MERGED, REMOVED, LOWERED, KEPT, FAILED)

Told: TypeAlias = Fold | Kept | Lowered
"""What became of one node."""

_BY_DIRECTION = {"merged": MERGED, "branch": MERGED, "removed": REMOVED}


@dataclass(frozen=True)
class Entry:
    """One node.

    Attributes:
        anchor: of its row on the page.
        node: what became of it.
        check: of a fold, where something was compared.
    """

    anchor: str
    node: Told
    check: FoldCheck | None = None

    @property
    def fate(self) -> Fate:
        """A fold that the check is against has failed, wherever it went."""
        if isinstance(self.node, Kept):
            return KEPT
        if isinstance(self.node, Lowered):
            return LOWERED
        if self.check is not None and self.check.worst is not None and not self.check.worst.passed:
            return FAILED
        return _BY_DIRECTION.get(self.node.direction, FOLDED)


@dataclass(frozen=True)
class Subject:
    """One model on the page.

    Attributes:
        report: what was done to it.
        prefix: of all anchors, so that those of several models differ.
        is_in_detail: whether every node has a drawing of its own. Of thousands, drawings show what groups of them have
            in common, so that the page stays small.
        columns: places in a plot, at most.
    """

    report: ReportData
    prefix: str = ""
    is_in_detail: bool = True
    columns: int = 480

    @cached_property
    def entries(self) -> tuple[Entry, ...]:
        """All nodes in the order of the graph; those that nobody numbered behind, folds first."""
        outcome = self.report.outcome
        nodes: list[Told] = sorted((*outcome.folds, *outcome.lowered, *outcome.kept), key=_place)
        checks = self._checks
        return tuple(
            Entry(f"{self.prefix}n{index}", node, checks.get(id(node)) if isinstance(node, Fold) else None)
            for index, node in enumerate(nodes)
        )

    @cached_property
    def batch_norms(self) -> tuple[Entry, ...]:
        """Those that are BatchNorms."""
        return tuple(entry for entry in self.entries if entry.node.is_batch_norm)

    @cached_property
    def failed(self) -> tuple[Entry, ...]:
        """The folds that the check is against."""
        return tuple(entry for entry in self.entries if entry.fate is FAILED)

    @cached_property
    def by_node(self) -> Mapping[int, Entry]:
        """The entry of each fold and each node that stays, by its identity."""
        return {id(entry.node): entry for entry in self.entries}

    @cached_property
    def _checks(self) -> dict[int, FoldCheck]:
        """Checks come in the order of the folds; two nodes may be called alike."""
        return {
            id(fold): check for fold, check in zip(self.report.outcome.folds, fold_checks(self.report), strict=False)
        }


def _place(node: Told) -> tuple[bool, int]:
    return node.number < 0, node.number
