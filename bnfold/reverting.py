"""Which folds to drop where the check of all together fails: bisection, so that the rest stays.

A fold is guilty where the model fails with it and passes without it. Among several suspects, the shortest run of them,
from the first on, that fails ends with a guilty one; it is dropped, and the search goes on until what is left passes.
"""

import glob
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Generic, TypeVar

from bnfold.outcome import Fold, Kept, Outcome
from bnfold.refusal import Reason, Refusal
from bnfold.verifier.result import Verification

T = TypeVar("T")


@dataclass(frozen=True)
class Attempt(Generic[T]):
    """A model folded and judged.

    Attributes:
        outcome: what was folded.
        verdict: of the check.
        result: the folded model, in whatever form.
    """

    outcome: Outcome
    verdict: Verification
    result: T


def fold_what_holds(attempt: Callable[[Sequence[str]], Attempt[T]]) -> Attempt[T]:
    """Drop guilty folds until the check passes, or none is left to drop.

    Args:
        attempt: folds everything but the nodes with these labels, given as patterns, and judges that.

    Returns:
        The last attempt. The folds that were dropped are among its kept nodes, each with the reason REVERTED.
    """
    dropped: dict[str, str] = {}
    found = attempt(())
    while found.verdict.status == "failed" and found.outcome.folds:
        suspects = _suspects(found)
        label = _guilty(attempt, dropped, suspects)
        dropped[label] = found.verdict.problem
        found = attempt(_patterns(dropped))
    return replace(found, outcome=_explained(found.outcome, dropped))


def folds_at(tensor_names: Iterable[str], folds: Sequence[Fold]) -> list[Fold]:
    """The folds whose nodes made one of these tensors."""
    names = set(tensor_names)
    return [fold for fold in folds if fold.tensor in names]


def _suspects(found: Attempt[T]) -> list[str]:
    """The folds at the first place where the models part; all of them where none is there."""
    folds = found.outcome.folds
    for tensor in found.verdict.tensors:
        if not tensor.passed:
            here = folds_at({tensor.name, *tensor.inside}, folds)
            if here:
                return [fold.node for fold in here]
    return [fold.node for fold in folds]


def _guilty(attempt: Callable[[Sequence[str]], Attempt[T]], dropped: Iterable[str], suspects: Sequence[str]) -> str:
    """The last of the shortest run of suspects with which the check fails."""
    passes, fails = 0, len(suspects)
    while fails - passes > 1:
        middle = (passes + fails) // 2
        without = (*dropped, *suspects[middle:])
        if attempt(_patterns(without)).verdict.status == "failed":
            fails = middle
        else:
            passes = middle
    return suspects[fails - 1]


def _patterns(labels: Iterable[str]) -> tuple[str, ...]:
    return tuple(glob.escape(label) for label in labels)


def _explained(outcome: Outcome, dropped: dict[str, str]) -> Outcome:
    return replace(outcome, kept=tuple(_reverted(kept, dropped) for kept in outcome.kept))


def _reverted(kept: Kept, dropped: dict[str, str]) -> Kept:
    if kept.node not in dropped:
        return kept
    evidence = f"with it, the check failed: {dropped[kept.node]}"
    hint = "please report this with the model: it is a bug in bnfold, or in onnxruntime"
    return replace(kept, refusals=(Refusal(Reason.REVERTED, evidence, path=(kept.node,), hint=hint),))
