"""As much of a comparison as is possible: without nodes that onnxruntime lacks, and without random ones."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from math import isnan

from bnfold.errors import InvalidOriginalError, UncheckedError
from bnfold.verification import Verification
from bnfold.verifier.models.changed import ChangedTensor
from bnfold.verifier.models.graph import Structure
from bnfold.verifier.models.refused import Lacking, RefusedError
from bnfold.verifier.run.stand_ins import are_inside, lacking_nodes, opened, stood_in

Compare = Callable[[Structure, Structure], Verification]
_MOST_NAMED = 3


def compare_what_runs(
    ours: Structure, theirs: Structure, tensors: Sequence[ChangedTensor], compare: Compare
) -> Verification:
    """The verdict on two models that part at some tensors; where some nodes cannot be compared, on all the others.

    Raises:
        InvalidOriginalError: the original is no valid model.
        UncheckedError: the original does not run, and would not without nodes that are the same in both.
    """
    random = [index for index in range(len(ours.nodes)) if ours.is_random(index)]
    if are_inside(random, tensors, ours, theirs):
        random = []
    absent, lacked = set(random), list[str]()
    while True:
        reasons = [_randomness(ours, random)] if random else []
        reasons += [f"the whole model needs {in_short(lacked)}"] if lacked else []
        try:
            return _compare_without(absent, reasons, ours, theirs, compare)
        except UncheckedError as error:
            if not lacked and isinstance(error.__cause__, InvalidOriginalError):  # whatever stands in
                raise error.__cause__ from error
            lacking = _lacking(error)
            found = lacking_nodes(ours, lacking) if lacking else []
            if not lacking or absent.issuperset(found) or are_inside(found, tensors, ours, theirs):
                raise
            absent.update(found)
            lacked.append(str(lacking))


def in_short(lacked: Sequence[str]) -> str:
    """The first few, and how many more: of a model in an old form, every node may be one."""
    more = len(lacked) - _MOST_NAMED
    return "; ".join(lacked[:_MOST_NAMED]) + (f"; and {more} more" if more > 0 else "")


def _compare_without(
    absent: set[int], reasons: Sequence[str], ours: Structure, theirs: Structure, compare: Compare
) -> Verification:
    if not absent:
        return compare(ours, theirs)
    made = {name for index in absent for name in ours.nodes[index].output if name}
    refused: UncheckedError | None = None
    for instead in (stood_in, opened):
        graphs = instead(ours, made), instead(theirs, made)
        if graphs[0] is None or graphs[1] is None:
            continue
        try:
            return _as_partial(compare(graphs[0], graphs[1]), reasons)
        except UncheckedError as error:
            if _lacking(error):
                raise
            refused = refused or error
    raise UncheckedError(f"{'; '.join(reasons)}, and without that it does not run") from refused


def _as_partial(verdict: Verification, reasons: Sequence[str]) -> Verification:
    """A verdict on models in which nodes were stood in for, for some reasons, as one on the models themselves."""
    alone = sum(tensor.passed and not isnan(tensor.excess) for tensor in verdict.tensors)
    count = len(verdict.tensors)
    said = f"{alone} of {count} changed part{'' if count == 1 else 's'} checked alone; {'; '.join(reasons)}"
    if not verdict.passed:
        return replace(verdict, warnings=(*verdict.warnings, *reasons))
    if alone < count:
        return replace(verdict, status="unchecked", problem=said)
    return replace(verdict, status="partial", warnings=(said, *verdict.warnings))


def _lacking(error: UncheckedError) -> Lacking | None:
    cause = error.__cause__
    return cause.lacking if isinstance(cause, RefusedError) else None


def _randomness(graph: Structure, nodes: Sequence[int]) -> str:
    """Which nodes are random, in one line."""
    first = graph.nodes[nodes[0]]
    mode = " in training mode" if first.op_type == "Dropout" else ""
    others = f" (and {len(nodes) - 1} more)" if len(nodes) > 1 else ""
    return f"{first.op_type} {graph.label(nodes[0])!r}{mode} is random{others}: its output is another one in each run"
