"""Which folds to drop where the check of all together fails: bisection, so that the rest stays.

A fold is guilty where the model fails with it and passes without it. Among several suspects, the shortest run of them,
from the first on, that fails ends with a guilty one; it is dropped, and the search goes on until what is left passes.
"""

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Generic, TypeAlias, TypeVar

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


Try: TypeAlias = Callable[[Collection[int]], Attempt[T]]
"""Folds everything but the nodes of these numbers (see `Fold.number`), and judges that."""


def fold_what_holds(attempt: Try[T]) -> Attempt[T]:
    """Drop guilty folds until the check passes, or none is left to drop.

    Args:
        attempt: folds all but some nodes.

    Returns:
        The last attempt. The folds that were dropped are among its kept nodes, each with the reason REVERTED.
    """
    dropped: dict[int, Kept] = {}
    found = attempt(())
    while found.verdict.status == "failed" and found.outcome.folds:
        fold = _guilty(attempt, dropped, _suspects(found))
        dropped[fold.number] = _reverted(fold, found.verdict.problem)
        found = attempt(dropped)
    return replace(found, outcome=_explained(found.outcome, dropped))


def folds_at(tensor_names: Iterable[str], folds: Sequence[Fold]) -> list[Fold]:
    """The folds whose nodes made one of these tensors."""
    names = set(tensor_names)
    return [fold for fold in folds if fold.tensor in names]


def _suspects(found: Attempt[T]) -> Sequence[Fold]:
    """The folds at the first place where the models part; all of them where none is there."""
    folds = found.outcome.folds
    for tensor in found.verdict.tensors:
        if not tensor.passed:
            here = folds_at({tensor.name, *tensor.inside}, folds)
            if here:
                return here
    return folds


def _guilty(attempt: Try[T], dropped: Iterable[int], suspects: Sequence[Fold]) -> Fold:
    """The last of the shortest run of suspects with which the check fails."""
    passes, fails = 0, len(suspects)
    while fails - passes > 1:
        middle = (passes + fails) // 2
        without = (*dropped, *(fold.number for fold in suspects[middle:]))
        if attempt(without).verdict.status == "failed":
            fails = middle
        else:
            passes = middle
    return suspects[fails - 1]


def _reverted(fold: Fold, problem: str) -> Kept:
    evidence = f"with it, the check failed: {problem}"
    hint = "please report this with the model: it is a bug in bnfold, or in onnxruntime"
    refusal = Refusal(Reason.REVERTED, evidence, path=(fold.node,), hint=hint)
    return Kept(fold.node, fold.op, fold.is_batch_norm, (refusal,), fold.number)


def _explained(outcome: Outcome, dropped: dict[int, Kept]) -> Outcome:
    """With the dropped folds among the kept nodes, in the order of the graph."""
    others = [kept for kept in outcome.kept if kept.number not in dropped]
    return replace(outcome, kept=tuple(sorted([*others, *dropped.values()], key=lambda kept: kept.number)))
