"""What the check says of each fold: the tensors at which it was looked at, put together."""

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from bnfold.outcome import Fold
from bnfold.report.model import ReportData
from bnfold.verification import TensorCheck

_Places: TypeAlias = Mapping[str, Sequence[int]]
"""The numbers of the checks that a tensor has a part in, by its name."""


@dataclass(frozen=True)
class FoldCheck:
    """One fold in the check.

    Attributes:
        node: label of the node that is gone.
        tensors: names of the tensors where it was looked at; none where no tensor outside a function or body shows it.
        worst: the check of the one that fared worst; None without tensors.
    """

    node: str
    tensors: tuple[str, ...]
    worst: TensorCheck | None


def reference(report: ReportData) -> str:
    """What the folded model was compared with."""
    return "the original read as an inference model" if report.read_as_inference else "the original"


def unchanged(report: ReportData) -> str:
    """What is said where nothing was folded."""
    return f"the model is {reference(report)}" if report.read_as_inference else "the model is unchanged"


def fold_checks(report: ReportData) -> list[FoldCheck]:
    """One entry per fold, in their order; none where nothing was compared."""
    if report.verification.status in ("unchecked", "skipped"):
        return []
    tensors = report.verification.tensors
    named: defaultdict[str, list[int]] = defaultdict(list)
    inside: defaultdict[str, list[int]] = defaultdict(list)
    for number, check in enumerate(tensors):
        named[check.name].append(number)
        for name in check.inside:
            inside[name].append(number)
    return [_check(fold, tensors, named, inside) for fold in report.outcome.folds]


def _check(fold: Fold, checks: Sequence[TensorCheck], named: _Places, inside: _Places) -> FoldCheck:
    # A tensor of a program of PyTorch may bear the label of the operator that took a fold downstream.
    found = {number for name in (fold.tensor, *fold.into) for number in named.get(name, ())}
    here = [checks[number] for number in sorted(found.union(inside.get(fold.tensor, ())))]
    worst = max(here, key=_badness, default=None)
    return FoldCheck(fold.node, tuple(check.name for check in here), worst)


def worst_of(checks: Sequence[TensorCheck]) -> TensorCheck | None:
    """The tensor that fared worst: one that failed, or else the one nearest to its limit."""
    return max(checks, key=_badness, default=None)


def _badness(check: TensorCheck) -> tuple[bool, float, float]:
    excess = 0.0 if math.isnan(check.excess) else check.excess
    return not check.passed, excess, check.max_rel
