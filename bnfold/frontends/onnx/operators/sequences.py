"""Sequences of tensors whose positions are known before run time.

A sequence is read as one tensor: its items one behind the other, along the axis on which they were cut or will be
joined, or stacked along a new one.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate

from bnfold.frontends.common.dimensions import known_length
from bnfold.frontends.common.undecodable import Undecodable, malformed
from bnfold.frontends.onnx.attributes import attribute
from bnfold.frontends.onnx.graph import OnnxNode, OnnxValue, Shape
from bnfold.frontends.onnx.operators.context import OnnxContext
from bnfold.frontends.onnx.operators.row import Family
from bnfold.rearrange import Regrouping, Selection, Step
from bnfold.refusal import Reason
from bnfold.semantics import Concatenation, Rearrangement

FAMILY = Family()


@dataclass(frozen=True)
class _Items:
    """How the items of a sequence lie in one tensor.

    Attributes:
        axis: along which they lie.
        lengths: of each on that axis.
        item: their shape on other axes, with any length on that one.
        squeezed: whether an item itself does not have the axis, on which it is 1 long.
    """

    axis: int
    lengths: tuple[int, ...]
    item: Shape
    squeezed: bool = False


@FAMILY.operator("SequenceConstruct", (11,))
def decode_sequence_construct(context: OnnxContext) -> Concatenation:
    """Tensors as the items of a sequence. Source: ONNX SequenceConstruct-11."""
    items = _constructed(context.node)
    steps = (_unsqueezed(items),) if items.squeezed else ()
    return Concatenation(items.axis, len(items.item), items.lengths, steps)


@FAMILY.operator("SplitToSequence", (11, 24))
def decode_split_to_sequence(context: OnnxContext) -> Rearrangement:
    """The parts of a tensor: the tensor itself, as far as a map is concerned. Source: ONNX SplitToSequence-11, -24."""
    _split(context)
    return Rearrangement(())


@FAMILY.operator("ConcatFromSequence", (11,))
def decode_concat_from_sequence(context: OnnxContext) -> Rearrangement:
    """The items, joined as they lie. Source: ONNX ConcatFromSequence-11."""
    items = _items(context, 0)
    joined = len(items.item)
    new, axis = context.attribute("new_axis", 0), context.attribute("axis", 0)
    if (axis % joined, bool(new)) != (items.axis, items.squeezed):
        raise Undecodable(
            Reason.UNKNOWN_OPERATOR, "the items of a sequence are joined on another axis than they lie on"
        )
    return Rearrangement(())


@FAMILY.operator("SequenceAt", (11,))
def decode_sequence_at(context: OnnxContext) -> Rearrangement:
    """The item at a position that the graph fixes. Source: ONNX SequenceAt-11."""
    items = _items(context, 0)
    (position,) = context.integers(1)
    count = len(items.lengths)
    if not -count <= position < count:
        raise malformed(f"SequenceAt takes item {position} of {count}")
    position %= count
    starts = [0, *accumulate(items.lengths)]
    step = Selection(items.axis, range(starts[position], starts[position + 1]), starts[-1])
    return Rearrangement((step, _squeezed(items)) if items.squeezed else (step,))


def _items(context: OnnxContext, slot: int) -> _Items:
    sequence = context.required(slot)
    node = sequence.producer
    if node is None or not node.is_standard or node.proto.op_type not in ("SequenceConstruct", "SplitToSequence"):
        raise Undecodable(Reason.UNKNOWN_OPERATOR, f"what is in the sequence {sequence.name!r} is not known")
    if node.proto.op_type == "SequenceConstruct":
        return _constructed(node)
    return _split(OnnxContext(node, context.constants))


def _constructed(node: OnnxNode) -> _Items:
    """Items of one shape are stacked along a new axis in front, unless a reader joins them along another."""
    shapes = [value.shape if value is not None else None for value in node.inputs]
    first = shapes[0] if shapes else None
    known = [shape for shape in shapes if shape is not None and first is not None and len(shape) == len(first)]
    if first is None or len(known) < len(shapes):
        raise Undecodable(Reason.UNKNOWN_SHAPE, "the rank of an item of a sequence is not known before run time")
    axis, stacked = _joined(node.outputs[0], len(first))
    if stacked:
        _require_alike(known, range(len(first)))
        return _Items(axis, (1,) * len(known), (*first[:axis], 1, *first[axis:]), squeezed=True)
    _require_alike(known, [other for other in range(len(first)) if other != axis])
    return _Items(axis, tuple(known_length(shape, axis) for shape in known), first)


def _joined(sequence: OnnxValue | None, rank: int) -> tuple[int, bool]:
    """The axis on which a reader joins items of this rank, and whether that is a new one."""
    for node, _ in [] if sequence is None else sequence.readers:
        if node.is_standard and node.proto.op_type == "ConcatFromSequence":
            new = bool(attribute(node, "new_axis", 0))
            return attribute(node, "axis", 0) % (rank + new), new
    return 0, True


def _require_alike(shapes: Sequence[Shape], axes: Sequence[int] | range) -> None:
    for axis in axes:
        lengths = {shape[axis] for shape in shapes}
        if len(shapes) > 1 and (len(lengths) > 1 or None in lengths):
            raise Undecodable(Reason.UNKNOWN_SHAPE, f"items of a sequence are not known to be alike on axis {axis}")


def _split(context: OnnxContext) -> _Items:
    node, shape = context.node, context.shape(0)
    axis = attribute(node, "axis", 0) % len(shape)
    length = known_length(shape, axis)
    if not node.has_input(1):
        squeezed = not attribute(node, "keepdims", 1)
        return _Items(axis, (1,) * length, (*shape[:axis], 1, *shape[axis + 1 :]), squeezed)
    sizes, split = context.integers(1), context.constants.require(context.required(1))
    if split.ndim == 0:  # of each part, of which the last may be shorter
        sizes = [min(sizes[0], length - start) for start in range(0, length, max(sizes[0], 1))]
    if sum(sizes) != length or min(sizes, default=0) < 0:
        raise malformed(f"SplitToSequence cuts {length} places into {sizes}")
    return _Items(axis, tuple(sizes), shape)


def _unsqueezed(items: _Items) -> Step:
    return Regrouping(_without(items), items.item)


def _squeezed(items: _Items) -> Step:
    return Regrouping(items.item, _without(items))


def _without(items: _Items) -> Shape:
    return (*items.item[: items.axis], *items.item[items.axis + 1 :])
