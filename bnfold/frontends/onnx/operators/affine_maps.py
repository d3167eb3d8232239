"""BatchNormalization, and Mul, Add, Sub, Div by a constant, read as affine maps."""

from dataclasses import replace

import numpy as np

from bnfold.affine import Array
from bnfold.errors import InternalError
from bnfold.frontends.common.arithmetic import divided, require_finite, scaled, shifted
from bnfold.frontends.common.batch_norms import (
    moved_mean,
    read_batch_norm,
    read_batch_norm_of_one_channel,
    require_channels,
    require_vectors,
    scale_and_bias,
)
from bnfold.frontends.common.broadcasting import with_leading_ones, with_rank_of
from bnfold.frontends.common.parameters import new_operand, new_parameter, without_leading_ones
from bnfold.frontends.common.undecodable import Undecodable, if_meant_for_inference
from bnfold.frontends.onnx.attributes import DEFAULT_EPSILON, attribute
from bnfold.frontends.onnx.constant_ops import is_float
from bnfold.frontends.onnx.constants import OnnxConstants
from bnfold.frontends.onnx.graph import OnnxNode, Traits
from bnfold.frontends.onnx.node_edits import OnnxEdit, edit_of, parameter_for
from bnfold.frontends.onnx.operators.context import OnnxContext
from bnfold.frontends.onnx.operators.row import Family, encodes
from bnfold.frontends.onnx.told_shapes import broadcast, like_first_output, normalised
from bnfold.refusal import Reason, Refusal
from bnfold.semantics import AffineMap, BroadcastScale, Form, Meaning

FAMILY = Family()

FIRST_WITH_TRAINING_MODE = 14
"""Below this opset, five outputs say training and one says inference. Source: ONNX BatchNormalization-9, -14"""


@encodes(AffineMap)
def encode_batch_norm(node: OnnxNode, meaning: AffineMap, constants: OnnxConstants) -> OnnxEdit | Refusal:
    """The variance stays, and the mean where the statistics do; scale and bias take the change."""
    mean, variance = (constants.require(node.inputs[slot]).astype(np.float64) for slot in (3, 4))
    exact_mean = moved_mean(meaning, constants.require_exact(node.inputs[3]))
    moved = None if exact_mean is None else parameter_for(node, 3, exact_mean, constants)
    if isinstance(moved, Refusal):
        return moved
    mean = mean if moved is None else moved.rounded.astype(np.float64)
    vectors = meaning.affine.along(1)
    if vectors is None:
        raise InternalError(f"a map over several axes was to go into {node.label!r}")
    gamma, beta = scale_and_bias(vectors, mean, variance, attribute(node, "epsilon", DEFAULT_EPSILON))
    new = {slot: parameter_for(node, slot, exact, constants) for slot, exact in ((1, gamma), (2, beta))}
    return edit_of(node, {**new, 3: moved}, constants)


@FAMILY.operator(
    "BatchNormalization",
    (7, 9, 14, 15),
    encode=encode_batch_norm,
    traits=Traits(
        may_be_affine=True,
        per_number=True,
        multiplies=True,
        can_be_computed=False,
        tell_output_shape=normalised,
        tell_input_shape=like_first_output,
    ),
)
def decode_batch_norm(context: OnnxContext) -> AffineMap:
    """BatchNormalization in inference: five inputs, one output. Source: ONNX BatchNormalization-7, -9, -14, -15."""
    _require_inference(context)
    gamma, beta, mean, variance = (context.parameter(slot, dynamic=Reason.DYNAMIC_PARAMETER) for slot in range(1, 5))
    shape = context.shape(0)
    if context.node.opset < 9 and not attribute(context.node, "spatial", 1):
        _require_channels_only(context, gamma, len(shape))
    require_vectors(gamma, beta, mean, variance)
    epsilon = attribute(context.node, "epsilon", DEFAULT_EPSILON)
    if len(shape) == 1:
        return read_batch_norm_of_one_channel(gamma, beta, mean, variance, epsilon)
    require_channels(shape)
    return read_batch_norm(gamma, beta, mean, variance, epsilon, shape)


def _require_inference(context: OnnxContext) -> None:
    """Refuse a BatchNorm that takes its statistics from the batch, and say what for."""
    node = context.node
    used = [value for value in node.outputs[1:] if value is not None and (value.readers or value.is_output)]
    if used:
        names = ", ".join(repr(value.name) for value in used)
        raise Undecodable(Reason.STATISTICS_OUTPUTS, f"its statistics are used, as {names}")
    training = attribute(node, "training_mode", 0)
    if training and _never_kept_statistics(context):
        kept = (
            "its running mean and variance are 0 and 1, as of a BatchNorm that keeps none and always takes the batch's"
        )
        raise Undecodable(Reason.TRAINING_MODE, f"training_mode is 1, and {kept}")
    if training:
        raise Undecodable(Reason.TRAINING_MODE, "training_mode is 1", hint=if_meant_for_inference())
    if any(node.outputs[1:]):
        names = ", ".join(repr(value.name) for value in node.outputs[1:] if value is not None)
        hint = if_meant_for_inference() if node.opset < FIRST_WITH_TRAINING_MODE else ""
        raise Undecodable(Reason.STATISTICS_OUTPUTS, f"it also outputs {names}, which is for training only", hint)


def _never_kept_statistics(context: OnnxContext) -> bool:
    mean, variance = (context.constants.read(context.required(slot)) for slot in (3, 4))
    if isinstance(mean, Refusal) or isinstance(variance, Refusal):
        return False
    return not mean.any() and bool((variance == 1).all())


def _require_channels_only(context: OnnxContext, gamma: Array, rank: int) -> None:
    """With spatial=0 parameters have the shape (C, D1, ...) of a whole sample, which is (C,) at rank 2 alone."""
    said = f"spatial is 0 at opset {context.node.opset}"
    if rank < 3:
        return
    if gamma.ndim > 1:
        raise Undecodable(Reason.NOT_SPATIAL, f"{said}, and its parameters have shape {gamma.shape}")
    raise Undecodable(
        Reason.NOT_SPATIAL,
        f"{said}, which asks for parameters of rank {rank - 1}, and they have shape {gamma.shape}",
        hint="if one mean per channel is meant, set spatial to 1: as it is, runtimes refuse to run it",
    )


@encodes(AffineMap)
def encode_arithmetic(node: OnnxNode, meaning: AffineMap, constants: OnnxConstants) -> OnnxEdit | Refusal:
    """Mul, Add and Sub keep their operator; Div becomes Mul, because a scale may be zero."""
    slot = 1 - meaning.source
    old = constants.require(node.inputs[slot])
    values = without_leading_ones(_operand(node, meaning), old.ndim)
    op_type = "Mul" if node.proto.op_type == "Div" else ""
    parameter = new_operand(values, old.dtype, meaning.form)
    return edit_of(node, {slot: parameter}, constants, op_type=op_type)


def _operand(node: OnnxNode, meaning: AffineMap) -> Array:
    if meaning.form is Form.SCALE:
        return meaning.affine.scale
    subtracts_constant = node.proto.op_type == "Sub" and meaning.source == 0
    return -meaning.affine.shift if subtracts_constant else meaning.affine.shift


@encodes(BroadcastScale)
def _encode_broadcast_scale(node: OnnxNode, meaning: BroadcastScale, constants: OnnxConstants) -> OnnxEdit | Refusal:
    slot = 1 - meaning.source
    old = constants.require(node.inputs[slot])
    values = without_leading_ones(meaning.values, old.ndim)
    op_type = "Mul" if node.proto.op_type == "Div" else ""
    edit = edit_of(node, {slot: new_parameter(values, old.dtype)}, constants, op_type=op_type)
    return edit if isinstance(edit, Refusal) else replace(edit, widens_output=values.shape != old.shape)


def encode_factor(node: OnnxNode, meaning: Meaning, constants: OnnxConstants) -> OnnxEdit | Refusal:
    """Mul or Div by a constant, whichever of the two is broadcast."""
    encode = _encode_broadcast_scale if isinstance(meaning, BroadcastScale) else encode_arithmetic
    return encode(node, meaning, constants)


def decode_mul(context: OnnxContext) -> AffineMap | BroadcastScale:
    """Mul by a constant, on either side. Source: ONNX Mul-7, -13, -14."""
    try:
        source, constant = _operands(context)
    except Undecodable as stop:
        if stop.opaque.reason is not Reason.BROADCASTS_ACTIVATION:
            raise
        return _broadcast_scale(context)
    return scaled(constant, source)


def _broadcast_scale(context: OnnxContext) -> BroadcastScale:
    source = 0 if context.constant(0) is None else 1
    constant = context.parameter(1 - source, dynamic=Reason.DYNAMIC_PARAMETER)
    require_finite(constant)
    return BroadcastScale(with_leading_ones(constant, max(constant.ndim, len(context.shape(source)))), source)


@FAMILY.operator(
    "Div",
    (7, 13, 14),
    encode=encode_factor,
    traits=Traits(may_be_affine=True, per_number=True, multiplies=True, tell_output_shape=broadcast),
)
def decode_div(context: OnnxContext) -> AffineMap:
    """Div by a constant; a constant divided by x is not affine. Source: ONNX Div-7, -13, -14."""
    source, constant = _operands(context)
    if source == 1:
        raise Undecodable(Reason.NOT_LINEAR, "a constant divided by the activation is not affine")
    return divided(constant, source)


def decode_add(context: OnnxContext) -> AffineMap:
    """Add of a constant, on either side. Source: ONNX Add-7, -13, -14."""
    source, constant = _operands(context)
    return shifted(constant, source)


def decode_sub(context: OnnxContext) -> AffineMap:
    """Sub of a constant, or from a constant, which has scale -1. Source: ONNX Sub-7, -13, -14."""
    source, constant = _operands(context)
    sign = 1.0 if source == 0 else -1.0
    return shifted(-sign * constant, source, scale=sign)


def _operands(context: OnnxContext) -> tuple[int, Array]:
    """Which input is the activation, and the other one's values with the activation's rank."""
    first = context.constants.read(context.required(0))
    second = context.constants.read(context.required(1))
    for refusal in (first, second):
        if isinstance(refusal, Refusal) and refusal.reason is not Reason.DYNAMIC_PARAMETER:
            raise Undecodable(refusal.reason, refusal.evidence)
    if isinstance(first, Refusal) == isinstance(second, Refusal):
        raise Undecodable(Reason.NOT_LINEAR, f"{context.node.op} needs one constant and one activation")
    constant_slot = 0 if isinstance(second, Refusal) else 1
    stored = first if isinstance(second, Refusal) else second
    if isinstance(stored, Refusal) or not is_float(stored.dtype):
        raise Undecodable(Reason.NOT_LINEAR, "the constant is not floating point")
    source = 1 - constant_slot
    constant = context.parameter(constant_slot, dynamic=Reason.DYNAMIC_PARAMETER)
    require_finite(constant)
    return source, with_rank_of(constant, context.shape(source))
