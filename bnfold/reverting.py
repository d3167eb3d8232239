"""Which folds to drop where the check of all together fails: bisection, so that the rest stays.

A fold is guilty where the model fails with it and passes without it. Among several suspects, the shortest run of them,
from the first on, that fails ends with a guilty one; it is dropped, and the search goes on until what is left passes.
"""

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Generic, TypeAlias, TypeVar

from bnfold.outcome import Apart, Kept, Merge, Outcome, Rewrite
from bnfold.refusal import Reason, Refusal
from bnfold.verification import Verification

T = TypeVar("T")
_Entry = TypeVar("_Entry", Kept, Apart)


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
        The last attempt. The folds that were dropped are among its kept nodes, the merges among the branches that stay
        apart, each with the reason REVERTED.
    """
    dropped: dict[int, Kept | Apart] = {}
    found = attempt(())
    while found.verdict.status == "failed" and found.outcome.changes:
        change = _guilty(attempt, dropped, _suspects(found))
        dropped[change.number] = _reverted(change, found.verdict.problem)
        found = attempt(dropped)
    return replace(found, outcome=_explained(found.outcome, dropped))


def changes_at(tensor_names: Iterable[str], changes: Sequence[Rewrite]) -> list[Rewrite]:
    """The folds and merges whose nodes made one of these tensors."""
    names = set(tensor_names)
    return [change for change in changes if change.tensor in names]


def _suspects(found: Attempt[T]) -> Sequence[Rewrite]:
    """What was done at the first place where the models part; all of it where nothing was done there."""
    changes = found.outcome.changes
    for tensor in found.verdict.tensors:
        if not tensor.passed:
            here = changes_at({tensor.name, *tensor.inside}, changes)
            if here:
                return here
    return changes


def _guilty(attempt: Try[T], dropped: Iterable[int], suspects: Sequence[Rewrite]) -> Rewrite:
    """The last of the shortest run of suspects with which the check fails."""
    passes, fails = 0, len(suspects)
    while fails - passes > 1:
        middle = (passes + fails) // 2
        without = (*dropped, *(change.number for change in suspects[middle:]))
        if attempt(without).verdict.status == "failed":
            fails = middle
        else:
            passes = middle
    return suspects[fails - 1]


def _reverted(change: Rewrite, problem: str) -> Kept | Apart:
    evidence = f"with it, the check failed: {problem}"
    hint = "please report this with the model: it is a bug in bnfold, or in onnxruntime"
    refusal = Refusal(Reason.REVERTED, evidence, path=(change.node,), hint=hint)
    if isinstance(change, Merge):
        return Apart(change.node, (refusal,), change.number)
    return Kept(change.node, change.op, change.is_batch_norm, (refusal,), change.number)


def _explained(outcome: Outcome, dropped: dict[int, Kept | Apart]) -> Outcome:
    """With the dropped folds among the kept nodes, and the dropped merges among what stays apart."""
    kept = [entry for entry in outcome.kept if entry.number not in dropped]
    kept += [entry for entry in dropped.values() if isinstance(entry, Kept)]
    apart = [entry for entry in outcome.apart if entry.number not in dropped]
    apart += [entry for entry in dropped.values() if isinstance(entry, Apart)]
    return replace(outcome, kept=_in_order(kept), apart=_in_order(apart))


def _in_order(entries: Iterable[_Entry]) -> tuple[_Entry, ...]:
    return tuple(sorted(entries, key=lambda entry: entry.number))
