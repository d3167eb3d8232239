"""Nodes that met the same fate, together: what a person reads first in a long list."""

from collections.abc import Callable, Hashable, Iterable
from dataclasses import dataclass
from typing import TypeVar

from bnfold.outcome import Direction, Fold, Kept
from bnfold.refusal import Reason
from bnfold.report.verdicts import needs_a_person, obstacle, verdict_of, ways_of

T = TypeVar("T")
K = TypeVar("K", bound=Hashable)


@dataclass(frozen=True)
class FoldGroup:
    """Folds of one operator type that went the same way."""

    op: str
    direction: Direction
    folds: tuple[Fold, ...]


@dataclass(frozen=True)
class KeptGroup:
    """Nodes that stay for the same first reason."""

    reason: Reason
    nodes: tuple[Kept, ...]


def group_folds(folds: Iterable[Fold]) -> list[FoldGroup]:
    """Folds by operator type and direction, BatchNorms first, then the largest group first."""
    groups = [
        FoldGroup(op, direction, tuple(members))
        for (op, direction), members in _by(folds, lambda fold: (fold.op, fold.direction)).items()
    ]
    return sorted(groups, key=lambda group: (not group.folds[0].is_batch_norm, -len(group.folds)))


def group_kept(nodes: Iterable[Kept]) -> list[KeptGroup]:
    """Nodes by their first reason, the largest group first."""
    groups = [
        KeptGroup(reason, tuple(members))
        for reason, members in _by(nodes, lambda node: node.refusals[0].reason).items()
    ]
    return sorted(groups, key=lambda group: (-len(group.nodes), group.reason.code))


def group_by_verdict(nodes: Iterable[Kept]) -> list[tuple[Kept, ...]]:
    """Nodes that stay by what can be done about them; those first about which somebody can do something.

    Args:
        nodes: in the order of the graph, which they keep.
    """
    groups = [tuple(members) for members in _by(nodes, verdict_of).values()]
    return sorted(groups, key=lambda group: (not needs_a_person(group[0]), -len(group)))


def group_by_fate(nodes: Iterable[Kept]) -> list[tuple[Kept, ...]]:
    """Nodes that stay by all that stands in their way, the codes and the operators of each; the largest group first.

    Args:
        nodes: in the order of the graph, which they keep.
    """
    groups = _by(nodes, lambda node: tuple((each.way, each.reason, obstacle(each)) for each in ways_of(node)))
    return sorted((tuple(members) for members in groups.values()), key=len, reverse=True)


def _by(entries: Iterable[T], key: Callable[[T], K]) -> dict[K, list[T]]:
    groups: dict[K, list[T]] = {}
    for entry in entries:
        groups.setdefault(key(entry), []).append(entry)
    return groups
