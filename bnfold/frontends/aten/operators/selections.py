"""Data movement along single axes: places in another order, left out, or shown several times."""

from collections.abc import Mapping, Sequence

import numpy as np

from bnfold.frontends.aten.node import AtenValue
from bnfold.frontends.aten.operators.call import AtenCall
from bnfold.frontends.aten.operators.family import AtenFamily
from bnfold.frontends.aten.operators.row import Keeps
from bnfold.frontends.common.dimensions import known_length
from bnfold.frontends.common.undecodable import Undecodable, malformed
from bnfold.rearrange import Regrouping, Selection, Step, Transposition
from bnfold.refusal import Reason, Refusal
from bnfold.regrouping import Dim
from bnfold.semantics import Commuting, Rearrangement

FAMILY = AtenFamily()


@FAMILY.operator("flip", keeps=Keeps.ALL)
def decode_flip(call: AtenCall) -> Rearrangement | Commuting:
    """Source: torch.flip."""
    shape = call.shape("self")
    axes = call.axes("dims", len(shape)) or ()
    return _moved(shape, axes, {axis: range(length)[::-1] for axis, length in _known(shape, axes).items()})


@FAMILY.operator("roll", keeps=Keeps.ALL)
def decode_roll(call: AtenCall) -> Rearrangement | Commuting:
    """Source: torch.roll."""
    shape = call.shape("self")
    shifts, dims = listed(call.fixed("shifts")), listed(call.fixed("dims"))
    if len(dims) != len(shifts):
        raise Undecodable(Reason.WRONG_AXIS, "roll without axes moves values from each axis to the others")
    axes = [axis % max(len(shape), 1) for axis in dims]
    if len(set(axes)) < len(axes):
        raise malformed(f"roll names an axis of {dims} twice")
    by = dict(zip(axes, shifts, strict=True))
    places = {
        axis: [(place - by[axis]) % length for place in range(length)] for axis, length in _known(shape, axes).items()
    }
    return _moved(shape, axes, places)


@FAMILY.operator("index_select")
def decode_index_select(call: AtenCall) -> Rearrangement | Commuting:
    """Places that the program fixes, or any. Source: torch.index_select."""
    shape = call.shape("self")
    axis = call.axis("dim", len(shape))
    return _selected(call, shape, axis, call.value("index"))


@FAMILY.operator("index")
def decode_index(call: AtenCall) -> Rearrangement | Commuting:
    """Indexing of one axis by a list of places, as in x[:, places]. Source: torch.Tensor.__getitem__."""
    indices = call.node.arguments["indices"]
    given = [axis for axis, index in enumerate(indices) if isinstance(index, AtenValue)]
    if len(given) != 1 or any(index is not None for axis, index in enumerate(indices) if axis not in given):
        raise Undecodable(Reason.UNKNOWN_OPERATOR, "indexing of several axes at once has no rule")
    index = indices[given[0]]
    if index.shape is None or len(index.shape) != 1 or index.dtype is None or index.dtype.itemsize == 1:
        raise Undecodable(Reason.UNKNOWN_OPERATOR, "only indexing by a list of places has a rule")
    return _selected(call, call.shape("self"), given[0], index)


@FAMILY.operator("repeat_interleave")
def decode_repeat_interleave(call: AtenCall) -> Rearrangement | Commuting:
    """The same number of copies of every place. Source: torch.repeat_interleave."""
    shape = call.shape("self")
    if not call.has("dim"):
        raise Undecodable(Reason.WRONG_AXIS, "repeat_interleave without an axis makes one of all axes")
    axis, repeats = call.axis("dim", len(shape)), call.fixed("repeats")
    if not isinstance(repeats, int):
        raise malformed(f"repeat_interleave repeats {repeats!r} times")
    places = {at: np.repeat(np.arange(length), repeats).tolist() for at, length in _known(shape, [axis]).items()}
    return _moved(shape, [axis], places)


@FAMILY.operator("unfold")
def decode_unfold(call: AtenCall) -> Rearrangement:
    """Windows of one axis, whose places become the last axis. Source: torch.Tensor.unfold."""
    shape = call.shape("self")
    axis = call.axis("dimension", len(shape))
    length, size, step = known_length(shape, axis), int(call.fixed("size")), int(call.fixed("step"))
    windows = range(0, length - size + 1, step)
    places = tuple(start + place for start in windows for place in range(size))
    before, behind = shape[:axis], shape[axis + 1 :]
    apart = (*before, len(windows), size, *behind)
    order = [*range(axis + 1), *range(axis + 2, len(apart)), axis + 1]
    return Rearrangement(
        (
            Selection(axis, places, length),
            Regrouping((*before, len(places), *behind), apart),
            Transposition(tuple(order)),
        )
    )


def _selected(call: AtenCall, shape: Sequence[Dim], axis: int, index: AtenValue) -> Rearrangement | Commuting:
    length, places = shape[axis], call.constants.read(index)
    if isinstance(places, Refusal) or not isinstance(length, int):
        return Commuting(len(shape), (axis,))
    found = [int(place) for place in places.reshape(-1).tolist()]
    if any(not -length <= place < length for place in found):
        raise malformed(f"{call.node.op} takes place {max(found, key=abs)} of {length}")
    return _moved(shape, [axis], {axis: [place % length for place in found]})


def _moved(shape: Sequence[Dim], axes: Sequence[int], places: Mapping[int, Sequence[int]]) -> Rearrangement | Commuting:
    """Places along axes; where a length is not known, any map passes that is the same along all of them."""
    if set(places) != set(axes):
        return Commuting(len(shape), tuple(sorted(axes)))
    steps: list[Step] = []
    for axis, chosen in places.items():
        length = shape[axis]
        if isinstance(length, int):
            steps.append(Selection(axis, tuple(chosen), length))
    return Rearrangement(tuple(steps))


def _known(shape: Sequence[Dim], axes: Sequence[int]) -> dict[int, int]:
    return {axis: length for axis in axes if isinstance(length := shape[axis], int)}


def listed(given: int | Sequence[int]) -> list[int]:
    """An argument that is a number or several."""
    return [given] if isinstance(given, int) else list(given)
