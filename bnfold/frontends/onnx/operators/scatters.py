"""ScatterND and ScatterElements: places of one tensor that are another's, at indices that the graph fixes.

What comes out is the two tensors one behind the other, of which some places are shown.
"""

from collections.abc import Sequence

import numpy as np

from bnfold.frontends.common.precision import AnyArray
from bnfold.frontends.common.undecodable import Undecodable, malformed
from bnfold.frontends.onnx.operators.context import OnnxContext
from bnfold.frontends.onnx.operators.parts import encode_concat
from bnfold.frontends.onnx.operators.row import Family
from bnfold.rearrange import Selection
from bnfold.refusal import Reason, Refusal
from bnfold.semantics import Concatenation

FAMILY = Family()

_DATA, _INDICES, _UPDATES = 0, 1, 2
_OTHERWISE = "{} at places that are no part of one axis has no rule"


@FAMILY.operator("ScatterElements", (11, 13, 16, 18), encode=encode_concat)
def decode_scatter_elements(context: OnnxContext) -> Concatenation:
    """Source: ONNX ScatterElements-11 to -18."""
    shape, index = context.shape(_DATA), _indices(context)
    if index.ndim != len(shape):
        raise malformed(f"ScatterElements has indices of rank {index.ndim} for rank {len(shape)}")
    axis = context.attribute("axis", 0) % len(shape)
    others = [other for other in range(len(shape)) if other != axis]
    first = index[tuple(slice(None) if other == axis else slice(0, 1) for other in range(index.ndim))]
    if any(shape[other] != index.shape[other] for other in others) or np.any(index != first):
        raise Undecodable(Reason.UNKNOWN_OPERATOR, _OTHERWISE.format("ScatterElements"))
    return _overlaid(context, axis, first.reshape(-1).tolist())


@FAMILY.operator("ScatterND", (11, 13, 16, 18), encode=encode_concat)
def decode_scatter_nd(context: OnnxContext) -> Concatenation:
    """Slices of the first axis, or a grid of places that is not whole on one axis. Source: ONNX ScatterND-11 to -18."""
    shape, index = context.shape(_DATA), _indices(context)
    depth = index.shape[-1] if index.ndim else 0
    if index.ndim != depth + 1 or not 1 <= depth <= len(shape):
        raise Undecodable(Reason.UNKNOWN_OPERATOR, _OTHERWISE.format("ScatterND"))
    lists = [_along(index[..., axis], axis) for axis in range(depth)]
    cut = [axis for axis, places in enumerate(lists) if places is None or places != [*range(_length(shape[axis]))]]
    axis = cut[0] if cut else 0
    places = lists[axis]
    if len(cut) > 1 or places is None:
        raise Undecodable(Reason.UNKNOWN_OPERATOR, _OTHERWISE.format("ScatterND"))
    return _overlaid(context, axis, places)


def _length(length: int | str | None) -> int:
    """0 where it is not known, of which no list of places is the whole."""
    return length if isinstance(length, int) else 0


def _along(index: AnyArray, axis: int) -> list[int] | None:
    """The places that a grid names along an axis, where they do not depend on the others."""
    first = index[tuple(slice(None) if other == axis else slice(0, 1) for other in range(index.ndim))]
    return None if np.any(index != first) or not first.size else [int(place) for place in first.reshape(-1)]


def _indices(context: OnnxContext) -> AnyArray:
    node = context.node
    if context.attribute("reduction", b"none") != b"none":
        raise Undecodable(Reason.UNKNOWN_OPERATOR, f"{node.op} that adds or multiplies what is there has no rule")
    index = context.constants.read(context.required(_INDICES))
    if isinstance(index, Refusal):
        raise Undecodable(Reason.UNKNOWN_OPERATOR, f"{node.op} at places known only at run time has no rule")
    return index


def _overlaid(context: OnnxContext, axis: int, places: Sequence[int]) -> Concatenation:
    shape = context.shape(_DATA)
    length = shape[axis]
    if not isinstance(length, int):
        raise Undecodable(Reason.UNKNOWN_SHAPE, f"the length of axis {axis} is not known before run time")
    if any(not -length <= place < length for place in places):
        raise malformed(f"{context.node.op} puts something at place {max(places, key=abs)} of {length}")
    shown = [*range(length)]
    for number, place in enumerate(places):
        shown[place % length] = length + number
    if len({place % length for place in places}) < len(places):
        raise Undecodable(Reason.UNKNOWN_OPERATOR, f"{context.node.op} puts several numbers at one place")
    constants = {slot: values for slot in (_DATA, _UPDATES) if (values := context.constant(slot)) is not None}
    behind = (Selection(axis, tuple(shown), length + len(places)),)
    return Concatenation(
        axis, len(shape), (length, len(places)), constants=constants, behind=behind, slots=(_DATA, _UPDATES)
    )
