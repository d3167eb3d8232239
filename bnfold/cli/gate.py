"""How many BatchNorms may stay, and which: the gate of a pipeline."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from bnfold.cli.request import Request

if TYPE_CHECKING:
    from bnfold.outcome import Kept
    from bnfold.report.readable import Report


@dataclass(frozen=True)
class Gate:
    """What a model has to pass.

    Attributes:
        most: how many BatchNorms may stay, beside those that are allowed by name.
        allowed: glob patterns of names that may stay.
        option: how the caller asked for it.
    """

    most: int
    allowed: tuple[str, ...]
    option: str

    @classmethod
    def of(cls, request: Request) -> "Gate | None":
        """What a call asks for; None where it asks for nothing."""
        if request.max_kept is not None:
            return cls(request.max_kept, request.allow_kept, f"--max-kept {request.max_kept}")
        if request.allow_kept:
            return cls(0, request.allow_kept, "--allow-kept")
        return cls(0, (), "--fail-on-kept") if request.fail_on_kept else None

    def refusal(self, report: "Report") -> str:
        """What keeps a model from passing, in one line; "" where nothing does."""
        others = [node for node in _batch_norms(report) if not self._allows(node)]
        if len(others) <= self.most:
            return ""
        tally = report.batch_norms
        allowed = tally.kept - len(others)
        beside = f", {allowed} of them allowed" if allowed else ""
        return f"{self.option}: {tally.kept} of {tally.found} BatchNorms stay{beside}"

    def unmatched(self, reports: Sequence["Report"]) -> Iterable[str]:
        """The patterns that allow nothing in any model: mistyped, or out of date."""
        kept = [node.node for report in reports for node in _batch_norms(report)]
        return [pattern for pattern in self.allowed if not any(fnmatchcase(name, pattern) for name in kept)]

    def _allows(self, node: "Kept") -> bool:
        return any(fnmatchcase(node.node, pattern) for pattern in self.allowed)


def _batch_norms(report: "Report") -> list["Kept"]:
    return [node for node in report.outcome.kept if node.is_batch_norm]
