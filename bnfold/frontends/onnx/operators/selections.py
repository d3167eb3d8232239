"""Places of axes, several times or some of them: Tile, Compress, GatherElements, GatherND, ReverseSequence."""

from collections.abc import Sequence
from math import prod

import numpy as np

from bnfold.frontends.common.dimensions import named
from bnfold.frontends.common.precision import AnyArray
from bnfold.frontends.common.undecodable import Undecodable, malformed
from bnfold.frontends.onnx.graph import Shape
from bnfold.frontends.onnx.operators.context import OnnxContext
from bnfold.frontends.onnx.operators.row import Family
from bnfold.rearrange import Regrouping, Selection
from bnfold.refusal import Reason, Refusal
from bnfold.semantics import Commuting, Rearrangement

FAMILY = Family()

# Places are written out one by one.
_MOST_PLACES = 2**16


@FAMILY.operator("Tile", (6, 13))
def decode_tile(context: OnnxContext) -> Rearrangement | Commuting:
    """The tensor several times over along some axes. Source: ONNX Tile-6, -13."""
    shape, repeats = context.shape(0), context.integers(1)
    if len(repeats) != len(shape):
        raise malformed(f"Tile has {len(repeats)} repeats for rank {len(shape)}")
    tiled = {axis: times for axis, times in enumerate(repeats) if times != 1}
    return _selected(shape, {axis: _tiled(shape[axis], times) for axis, times in tiled.items()})


def _tiled(length: int | str | None, times: int) -> Sequence[int] | None:
    return [*range(length)] * times if isinstance(length, int) and length * times <= _MOST_PLACES else None


@FAMILY.operator("Compress", (9, 11, 28))
def decode_compress(context: OnnxContext) -> Rearrangement | Commuting:
    """The places of an axis that a list of truth values names. Source: ONNX Compress-9, -11, -28."""
    shape, axis = context.shape(0), context.attribute("axis", None)
    if axis is None:
        raise Undecodable(Reason.WRONG_AXIS, "Compress without an axis makes one of all axes")
    kept = context.constants.read(context.required(1))
    axis %= len(shape)
    return _selected(shape, {axis: None if isinstance(kept, Refusal) else np.flatnonzero(kept).tolist()})


@FAMILY.operator("GatherElements", (11, 13))
def decode_gather_elements(context: OnnxContext) -> Rearrangement | Commuting:
    """A place of an axis for every number: it may be the same for all along the other axes.

    Source: ONNX GatherElements-11, -13.
    """
    shape, taken = context.shape(0), context.shape(1)
    axis = context.attribute("axis", 0) % len(shape)
    if len(taken) != len(shape):
        raise malformed(f"GatherElements has an index of rank {len(taken)} for rank {len(shape)}")
    cut = [
        other for other in range(len(shape)) if other != axis and (shape[other] is None or shape[other] != taken[other])
    ]
    index = context.constants.read(context.required(1))
    places = None if isinstance(index, Refusal) or cut else _same_for_all(index, axis)
    if places is None:
        return Commuting(len(shape), tuple(sorted([axis, *cut])))
    return _selected(shape, {axis: places})


def _same_for_all(index: AnyArray, axis: int) -> Sequence[int] | None:
    """The places that an index names along its axis, where they do not depend on the other axes."""
    first = index[tuple(slice(None) if other == axis else slice(0, 1) for other in range(index.ndim))]
    return (
        first.reshape(-1).tolist()
        if first.size and np.array_equal(np.broadcast_to(first, index.shape), index)
        else None
    )


@FAMILY.operator("GatherND", (11, 12, 13))
def decode_gather_nd(context: OnnxContext) -> Rearrangement | Commuting:
    """Places of several axes together, in the order of an index. Source: ONNX GatherND-11, -12, -13."""
    shape, taken = context.shape(0), context.shape(1)
    first, depth = context.attribute("batch_dims", 0), taken[-1] if taken else None
    if not isinstance(depth, int) or not 1 <= depth <= len(shape) - first:
        raise Undecodable(Reason.UNKNOWN_SHAPE, "how many axes GatherND names places of is not known before run time")
    named_axes = range(first, first + depth)
    index = context.constants.read(context.required(1))
    lengths = [length for length in shape[first : first + depth] if isinstance(length, int)]
    if isinstance(index, Refusal) or len(lengths) < depth or index.size > _MOST_PLACES:
        if depth == 1 and len(taken) == first + 2:
            return Commuting(len(shape), (first,))
        raise Undecodable(Reason.UNKNOWN_OPERATOR, "GatherND of places known only at run time has no rule")
    own = index[(0,) * first]
    if np.any(index != own):
        raise Undecodable(Reason.UNKNOWN_OPERATOR, "GatherND of places that differ from sample to sample has no rule")
    if np.any(own < -np.array(lengths)) or np.any(own >= lengths):
        raise malformed(f"GatherND takes places beyond lengths of {lengths}")
    flat = np.ravel_multi_index(tuple(np.moveaxis(own % lengths, -1, 0)), lengths)
    whole = named(shape)
    before, behind = whole[:first], whole[named_axes.stop :]
    one = (*before, prod(lengths), *behind)
    chosen = Selection(first, tuple(int(place) for place in flat.ravel()), prod(lengths))
    rows = (*before, flat.size, *behind)
    return Rearrangement((Regrouping(whole, one), chosen, Regrouping(rows, (*before, *flat.shape, *behind))))


@FAMILY.operator("ReverseSequence", (10, 28))
def decode_reverse_sequence(context: OnnxContext) -> Rearrangement | Commuting:
    """Places of a sequence turned around, as many as each has. Source: ONNX ReverseSequence-10, -28."""
    shape = context.shape(0)
    axis = context.attribute("time_axis", 0) % len(shape)
    turned = context.constants.read(context.required(1))
    if isinstance(turned, Refusal) or not turned.size or np.any(turned != turned.reshape(-1)[0]):
        return Commuting(len(shape), mixed_axes=(axis,))
    first, length = int(turned.reshape(-1)[0]), shape[axis]
    if not isinstance(length, int) or not 0 <= first <= length <= _MOST_PLACES:
        return Commuting(len(shape), mixed_axes=(axis,))
    return _selected(shape, {axis: [*reversed(range(first)), *range(first, length)]})


def _selected(shape: Shape, places: dict[int, Sequence[int] | None]) -> Rearrangement | Commuting:
    """Places along axes; where they are not known, any map passes that is the same along all of these axes."""
    steps = []
    for axis, chosen in places.items():
        length = shape[axis]
        if chosen is None or not isinstance(length, int):
            return Commuting(len(shape), tuple(sorted(places)))
        if not all(-length <= place < length for place in chosen):
            raise malformed(f"place {max(chosen, key=abs)} is taken of {length}")
        steps.append(Selection(axis, tuple(place % length for place in chosen), length))
    return Rearrangement(tuple(steps))
