"""Data movement: the same values in other places."""

from bnfold.frontends.common.dimensions import known_length
from bnfold.frontends.common.images import depth_to_space, space_to_depth
from bnfold.frontends.common.undecodable import Undecodable, malformed
from bnfold.frontends.onnx import constant_ops
from bnfold.frontends.onnx.attributes import attribute
from bnfold.frontends.onnx.edit import OnnxEdit
from bnfold.frontends.onnx.graph import Shape, Traits
from bnfold.frontends.onnx.operators.context import OnnxContext
from bnfold.frontends.onnx.operators.parameters import edit_of, parameter_for
from bnfold.frontends.onnx.operators.row import Family
from bnfold.frontends.onnx.reshape_target import read_target
from bnfold.frontends.onnx.told_shapes import like_first_input, like_first_output, reshaped
from bnfold.rearrange import Regrouping, Repetition, Selection, Step, Transposition
from bnfold.refusal import Reason, Refusal
from bnfold.semantics import Commuting, Embedding, Rearrangement

FAMILY = Family()


@FAMILY.operator(
    "Identity",
    (1, 13, 14, 16, 19, 21, 23, 24, 25),
    traits=Traits(
        per_number=True,
        keeps_numbers=True,
        evaluate=constant_ops.identity,
        tell_output_shape=like_first_input,
        tell_input_shape=like_first_output,
    ),
)
def decode_identity(_context: OnnxContext) -> Rearrangement:
    """Source: ONNX Identity-1 to -25."""
    return Rearrangement(())


@FAMILY.operator(
    "Dropout",
    (7, 10, 12, 13, 22),
    traits=Traits(
        per_number=True, can_be_computed=False, tell_output_shape=like_first_input, tell_input_shape=like_first_output
    ),
)
def decode_dropout(context: OnnxContext) -> Rearrangement:
    """Dropout in inference passes its input on. Source: ONNX Dropout-7 to -22."""
    node = context.node
    mask = node.outputs[1] if len(node.outputs) > 1 else None
    if mask is not None and (mask.readers or mask.is_output):
        raise Undecodable(Reason.NOT_LINEAR, "the mask of the Dropout is read")
    if context.input(2) is not None:
        training = context.constants.read(context.required(2))
        if isinstance(training, Refusal) or training.any():
            raise Undecodable(Reason.TRAINING_MODE, "the Dropout may be in training mode")
    return Rearrangement(())


@FAMILY.operator("Pow", (7, 12, 13, 15))
def decode_pow(context: OnnxContext) -> Rearrangement:
    """The first power is the tensor itself, as Power layers of Caffe are written. Source: ONNX Pow-7 to -15."""
    exponent = context.constant(1)
    if exponent is None or exponent.size != 1 or exponent.item() != 1 or exponent.ndim > len(context.shape(0)):
        raise _not_linear(context)
    return Rearrangement(())


@FAMILY.operator(
    "Clip", (6, 11, 12, 13), traits=Traits(tell_output_shape=like_first_input, tell_input_shape=like_first_output)
)
def decode_clip(context: OnnxContext) -> Rearrangement:
    """Clip without limits. Source: ONNX Clip-6 to -13."""
    node = context.node
    limits = [context.attribute(name, None) for name in ("min", "max")]
    if any(limit is not None for limit in limits) or node.has_input(1) or node.has_input(2):
        raise _not_linear(context)
    return Rearrangement(())


def _not_linear(context: OnnxContext) -> Undecodable:
    return Undecodable(Reason.NOT_LINEAR, f"{context.node.op} is not linear")


@FAMILY.operator("Transpose", (1, 13, 21, 23, 24, 25), traits=Traits(per_number=True, evaluate=constant_ops.transpose))
def decode_transpose(context: OnnxContext) -> Rearrangement:
    """Source: ONNX Transpose-1 to -25."""
    rank = len(context.shape(0))
    permutation = context.attribute("perm", None) or range(rank)[::-1]
    if sorted(permutation) != list(range(rank)):
        raise malformed(f"Transpose has perm {list(permutation)} for rank {rank}")
    return Rearrangement((Transposition(tuple(permutation)),))


@FAMILY.operator("Flatten", (1, 9, 11, 13, 21, 23, 24, 25), traits=Traits(per_number=True))
@FAMILY.operator(
    "Squeeze",
    (1, 11, 13, 21, 23, 24, 25),
    traits=Traits(per_number=True, keeps_numbers=True, evaluate=constant_ops.squeeze),
)
@FAMILY.operator(
    "Unsqueeze",
    (1, 11, 13, 21, 23, 24, 25),
    traits=Traits(per_number=True, keeps_numbers=True, evaluate=constant_ops.unsqueeze),
)
def decode_regrouping(context: OnnxContext) -> Rearrangement:
    """Flatten, Squeeze, Unsqueeze.

    Source: ONNX Flatten-1 to -25, Squeeze-1 to -25, Unsqueeze-1 to -25.
    """
    return Rearrangement((Regrouping(context.shape(0), context.output_shape()),))


@FAMILY.operator(
    "Reshape",
    (5, 13, 14, 19, 21, 23, 24, 25),
    traits=Traits(
        per_number=True,
        keeps_numbers=True,
        shaped_by_values=True,
        evaluate=constant_ops.reshape,
        tell_output_shape=reshaped,
    ),
)
def decode_reshape(context: OnnxContext) -> Rearrangement:
    """Reshape, also to a shape that is computed from shapes. Source: ONNX Reshape-5 to -25."""
    source = context.shape(0)
    target = read_target(context.node, source, context.constants) or context.output_shape()
    return Rearrangement((Regrouping(source, target),))


@FAMILY.operator("Expand", (8, 13), traits=Traits(shaped_by_values=True, evaluate=constant_ops.expand))
def decode_expand(context: OnnxContext) -> Rearrangement:
    """Source: ONNX Expand-8, -13."""
    source, target = context.shape(0), context.output_shape()
    aligned = (1,) * (len(target) - len(source)) + source
    return Rearrangement((Repetition(aligned, target, len(source)),))


@FAMILY.operator("Slice", (1, 10, 11, 13), traits=Traits(evaluate=constant_ops.slice_))
def decode_slice(context: OnnxContext) -> Rearrangement:
    """Slice with constant bounds. Source: ONNX Slice-1, -10, -11, -13."""
    node = context.node
    shape = context.shape(0)
    if node.opset < 10:
        starts, stops = attribute(node, "starts", ()), attribute(node, "ends", ())
        axes, steps = attribute(node, "axes", None), None
    else:
        starts, stops = context.integers(1), context.integers(2)
        axes, steps = context.optional_integers(3), context.optional_integers(4)
    axes = list(range(len(starts))) if axes is None else [axis % len(shape) for axis in axes]
    steps = [1] * len(starts) if steps is None else steps
    parts = zip(axes, starts, stops, steps, strict=True)
    return Rearrangement(tuple(_taking(shape, axis, slice(start, stop, step)) for axis, start, stop, step in parts))


def encode_gather(context: OnnxContext, meaning: Embedding) -> OnnxEdit | Refusal:
    """The table itself takes the map."""
    return edit_of(context, {0: parameter_for(context, 0, meaning.values)})


@FAMILY.operator("Gather", (1, 11, 13), encode=encode_gather)
def decode_gather(context: OnnxContext) -> Rearrangement | Commuting | Embedding:
    """Constant places of an axis, places known at run time, or rows of a constant table.

    Source: ONNX Gather-1, -11, -13.
    """
    axis = context.attribute("axis", 0)
    table = context.constants.read_exact(context.required(0))
    if not isinstance(table, Refusal):
        return Embedding(table, axis % table.ndim, len(context.shape(1)))
    shape = context.shape(0)
    axis %= len(shape)
    index = context.constants.read(context.required(1))
    if isinstance(index, Refusal):
        return _gathered_at_run_time(context, shape, axis)
    length = known_length(shape, axis)
    places = [int(place) for place in index.reshape(-1).tolist()]
    if not all(-length <= place < length for place in places):
        raise malformed(f"Gather takes place {max(places, key=abs)} of {length}")
    step = Selection(axis, tuple(place % length for place in places), length)
    if index.ndim == 1:
        return Rearrangement((step,))
    taken = (*shape[:axis], len(places), *shape[axis + 1 :])
    return Rearrangement((step, Regrouping(taken, context.output_shape())))


def _gathered_at_run_time(context: OnnxContext, shape: Shape, axis: int) -> Commuting:
    """A map passes that is the same at all places: whichever are taken."""
    if len(context.shape(1)) != 1:
        raise Undecodable(Reason.UNKNOWN_OPERATOR, "Gather of places known only at run time, which are no vector")
    return Commuting(len(shape), (axis,))


@FAMILY.operator("DepthToSpace", (1, 11, 13, 28))
def decode_depth_to_space(context: OnnxContext) -> Rearrangement:
    """Channels become places, in DCR or CRD order. Source: ONNX DepthToSpace-1, -11, -13, -28."""
    return depth_to_space(_image(context), context.attribute("blocksize", 1), depth_first=_is_depth_first(context))


@FAMILY.operator("SpaceToDepth", (1, 13, 28))
def decode_space_to_depth(context: OnnxContext) -> Rearrangement:
    """Places become channels, in DCR or, from version 28 on, CRD order. Source: ONNX SpaceToDepth-1, -13, -28."""
    return space_to_depth(_image(context), context.attribute("blocksize", 1), depth_first=_is_depth_first(context))


def _is_depth_first(context: OnnxContext) -> bool:
    return context.attribute("mode", b"DCR") == b"DCR"


def _image(context: OnnxContext) -> Shape:
    shape = context.shape(0)
    if len(shape) != 4:
        raise malformed(f"{context.node.op} has an input of rank {len(shape)}, expected 4")
    return shape


def _taking(shape: Shape, axis: int, part: slice) -> Step:
    length = known_length(shape, axis)
    return Selection(axis, _places(length, part.start, part.stop, part.step), length)


def _places(length: int, start: int, stop: int, step: int) -> range:
    """Bounds as ONNX clamps them; not as Python does, where no place is left of a start far below zero."""
    last = length if step > 0 else length - 1
    first, before = (bound + length if bound < 0 else bound for bound in (start, stop))
    return range(min(max(first, 0), last), min(max(before, 0 if step > 0 else -1), last), step)
