"""Conv, ConvTranspose, DeformConv, Gemm, MatMul and Einsum, read as contractions with one layout of the weight."""

import numpy as np

from bnfold.affine import Array
from bnfold.frontends.common.broadcasting import with_leading_ones
from bnfold.frontends.common.convolutions import (
    PLACES_DIFFER,
    ZEROS_PADDED,
    convolution,
    divides,
    has_one_place,
    inputs_first,
    outputs_first,
    stored_inputs_first,
    stored_outputs_first,
)
from bnfold.frontends.common.einsum import read_einsum
from bnfold.frontends.common.parameters import Layout, bias_along_output, bias_per_channel
from bnfold.frontends.common.undecodable import Undecodable, malformed
from bnfold.frontends.onnx.attributes import attribute, equation
from bnfold.frontends.onnx.constant_ops import AnyArray
from bnfold.frontends.onnx.constants import OnnxConstants
from bnfold.frontends.onnx.graph import OnnxNode, Traits
from bnfold.frontends.onnx.node_edits import OnnxEdit, bias_for, edit_of, weight_for
from bnfold.frontends.onnx.operators.attention import matrix_product
from bnfold.frontends.onnx.operators.context import OnnxContext
from bnfold.frontends.onnx.operators.joins import joins_activations
from bnfold.frontends.onnx.operators.row import Family, encodes
from bnfold.frontends.onnx.operators.windows import read_window
from bnfold.frontends.onnx.told_shapes import (
    convolved,
    multiplied,
    to_be_convolved,
    to_be_multiplied,
    transpose_convolved,
)
from bnfold.refusal import Reason, Refusal
from bnfold.semantics import Contraction, MatrixProduct, NoShift
from bnfold.weight import Weight
from bnfold.window import Window

FAMILY = Family()

_ZEROS_BESIDE = NoShift("places beside the image count as zeros")


@encodes(Contraction)
def encode_conv(node: OnnxNode, meaning: Contraction, constants: OnnxConstants) -> OnnxEdit | Refusal:
    """Weight (M, C / group, *kernel), bias (M,)."""
    return convolution_edit(node, meaning, constants, stored_outputs_first)


@FAMILY.operator(
    "Conv",
    (1, 11, 22),
    encode=encode_conv,
    traits=Traits(tell_output_shape=convolved, tell_input_shape=to_be_convolved),
)
def decode_conv(context: OnnxContext) -> Contraction:
    """Conv: weight (M, C / group, *kernel), bias (M,). Source: ONNX Conv-1, -11, -22."""
    weight = outputs_first(*stored_convolution(context))
    window = read_window(context.node, weight.shape[3:])
    return _convolution(context, weight, ZEROS_PADDED if pads(context, weight) else None, window)


@encodes(Contraction)
def encode_conv_transpose(node: OnnxNode, meaning: Contraction, constants: OnnxConstants) -> OnnxEdit | Refusal:
    """Weight (C, M / group, *kernel), bias (M,)."""
    return convolution_edit(node, meaning, constants, stored_inputs_first)


@FAMILY.operator(
    "ConvTranspose",
    (1, 11, 22),
    encode=encode_conv_transpose,
    traits=Traits(tell_output_shape=transpose_convolved, tell_input_shape=to_be_convolved),
)
def decode_conv_transpose(context: OnnxContext) -> Contraction:
    """ConvTranspose: weight (C, M / group, *kernel), bias (M,). Source: ONNX ConvTranspose-1, -11, -22."""
    weight = inputs_first(*stored_convolution(context))
    one_place = has_one_place(weight) and not _spreads(context)
    return _convolution(context, weight, None if one_place else PLACES_DIFFER)


def stored_convolution(context: OnnxContext) -> tuple[AnyArray, int]:
    """The weight of a convolution as the file has it, and its groups."""
    stored = context.weight(1)
    groups = attribute(context.node, "group", 1)
    if not divides(stored, groups):
        raise malformed(f"{context.node.proto.op_type} has a weight of shape {stored.shape} and group {groups}")
    return stored, groups


def convolution_edit(
    node: OnnxNode, meaning: Contraction, constants: OnnxConstants, layout: Layout, *, bias_slot: int = 2
) -> OnnxEdit | Refusal:
    """The edit of a convolution's weight, in this layout, and of its bias, at this input."""
    vector = None if meaning.bias is None else bias_per_channel(meaning)
    bias = bias_for(node, vector, constants, slot=bias_slot)
    return edit_of(node, {1: weight_for(node, meaning, constants, layout), bias_slot: bias}, constants)


def pads(context: OnnxContext, weight: AnyArray) -> bool:
    """Whether a convolution with this weight, in the layout of a contraction, pads its input."""
    automatic = attribute(context.node, "auto_pad", b"NOTSET")
    return any(attribute(context.node, "pads", None) or ()) or (
        automatic.startswith(b"SAME") and weight[0, 0, 0].size > 1
    )


def _spreads(context: OnnxContext) -> bool:
    """Whether a transposed kernel of one place still leaves places of the output without input."""
    node = context.node
    strides = attribute(node, "strides", None) or ()
    widened = any(attribute(node, name, None) for name in ("output_padding", "output_shape", "pads"))
    return any(stride > 1 for stride in strides) or widened or attribute(node, "auto_pad", b"NOTSET") != b"NOTSET"


def _convolution(
    context: OnnxContext, weight: AnyArray, no_shift: NoShift | None, window: Window | None = None
) -> Contraction:
    bias = context.optional_parameter(2, dynamic=Reason.DYNAMIC_BIAS)
    return convolution(weight, bias, weight.ndim - 1, 1, no_shift, window)


@encodes(Contraction)
def encode_deform_conv(node: OnnxNode, meaning: Contraction, constants: OnnxConstants) -> OnnxEdit | Refusal:
    """Weight (M, C / group, kh, kw), bias (M,) behind the offsets."""
    return convolution_edit(node, meaning, constants, stored_outputs_first, bias_slot=3)


@FAMILY.operator("DeformConv", (19, 22), encode=encode_deform_conv)
def decode_deform_conv(context: OnnxContext) -> Contraction:
    """DeformConv: a Conv that reads x between places. Beside x it reads offsets and a mask, which take no map.

    Source: ONNX DeformConv-19, -22.
    """
    stored, groups = stored_convolution(context)
    bias = context.optional_parameter(3, dynamic=Reason.DYNAMIC_BIAS)
    return convolution(outputs_first(stored, groups), bias, stored.ndim, 1, _ZEROS_BESIDE)


@encodes(Contraction)
def encode_gemm(node: OnnxNode, meaning: Contraction, constants: OnnxConstants) -> OnnxEdit | Refusal:
    """Alpha and beta are in the weight and the bias, and become 1."""
    outputs_first = attribute(node, "transB", 0)
    weight = weight_for(node, meaning, constants, lambda stored: stored[0] if outputs_first else stored[0].T)
    bias = bias_for(node, _gemm_bias(node, meaning, constants), constants)
    return edit_of(node, {1: weight, 2: bias}, constants, float_attributes={"alpha": 1.0, "beta": 1.0})


def _gemm_bias(node: OnnxNode, meaning: Contraction, constants: OnnxConstants) -> Array | None:
    """C keeps rank 2 where it had it; otherwise it is a vector over the columns. One that must go becomes 0."""
    if meaning.bias is None:
        return np.zeros(meaning.output_channels) if node.has_input(2) else None
    had_rank_2 = node.has_input(2) and constants.require(node.inputs[2]).ndim == 2
    return meaning.bias if had_rank_2 else meaning.bias.reshape(-1)


@FAMILY.operator(
    "Gemm",
    (7, 9, 11, 13),
    encode=encode_gemm,
    traits=Traits(tell_output_shape=multiplied, tell_input_shape=to_be_multiplied),
)
def decode_gemm(context: OnnxContext) -> Contraction:
    """Gemm: alpha * A' B' + beta * C with a constant B and C. Source: ONNX Gemm-7, -9, -11, -13."""
    node = context.node
    context.require_float(1)
    stored = context.weight(1)
    if stored.ndim != 2:
        raise malformed(f"Gemm has a weight of shape {stored.shape}, expected rank 2")
    matrix = stored if attribute(node, "transB", 0) else stored.T
    weight = Weight(matrix[None]).times(np.ones((1, 1, 1)) * attribute(node, "alpha", 1.0))
    bias = context.optional_parameter(2, dynamic=Reason.DYNAMIC_BIAS)
    if bias is not None:
        if bias.ndim > 2 or bias.shape[-1:] not in ((), (1,), (weight.shape[1],)):
            raise malformed(f"Gemm has a C of shape {bias.shape} for {weight.shape[1]} columns")
        bias = with_leading_ones(bias, 2) * attribute(node, "beta", 1.0)
    input_axis = 0 if attribute(node, "transA", 0) else 1
    return Contraction(weight, bias, 2, output_axis=1, input_axis=input_axis, window=Window())


@encodes(Contraction)
def encode_mat_mul(node: OnnxNode, meaning: Contraction, constants: OnnxConstants) -> OnnxEdit | Refusal:
    """With a bias it becomes a Gemm at rank 2, and gets an Add behind it at others."""
    slot = 1 - meaning.source
    weight = weight_for(node, meaning, constants, lambda stored: stored[0].T if slot else stored[0], slot=slot)
    if meaning.bias is None:
        return edit_of(node, {slot: weight}, constants)
    if meaning.holds_bias:
        bias = bias_for(node, bias_per_channel(meaning), constants)
        return edit_of(node, {slot: weight, 2: bias}, constants, op_type="Gemm")
    bias = bias_for(node, bias_along_output(meaning), constants, like=slot)
    return edit_of(node, {slot: weight}, constants, bias_behind=bias)


@FAMILY.operator("MatMul", (1, 9, 13), encode=encode_mat_mul)
def decode_mat_mul(context: OnnxContext) -> Contraction | MatrixProduct:
    """MatMul with a constant of rank 2 on either side, or with none. Source: ONNX MatMul-1, -9, -13."""
    if not isinstance(context.constants.read(context.required(0)), Refusal):
        return _constant_on_the_left(context)
    product = matrix_product(context) if joins_activations(context) else None
    if product is not None:
        return product
    context.require_float(1)
    stored = context.weight(1)
    if stored.ndim != 2:
        raise Undecodable(Reason.WRONG_AXIS, f"MatMul has a constant of shape {stored.shape}, only rank 2 folds")
    rank = len(context.shape(0))
    last = rank - 1
    return Contraction(
        Weight(stored.T[None]), None, rank, output_axis=last, input_axis=last, holds_bias=rank == 2, window=Window()
    )


def _constant_on_the_left(context: OnnxContext) -> Contraction:
    """W x: rows of W make the output channels, on the last axis but one."""
    context.require_float(0)
    stored = context.weight(0)
    rank = len(context.shape(1))
    if stored.ndim != 2 or rank < 2:
        raise Undecodable(
            Reason.WRONG_AXIS, f"MatMul has a constant of shape {stored.shape} on the left of rank {rank}"
        )
    axis = rank - 2
    return Contraction(
        Weight(stored[None]), None, rank, output_axis=axis, input_axis=axis, holds_bias=False, source=1, window=Window()
    )


@encodes(Contraction)
def encode_einsum(node: OnnxNode, meaning: Contraction, constants: OnnxConstants) -> OnnxEdit | Refusal:
    """The matrix as the equation has it; an Add behind it takes a bias."""
    slot = 1 - meaning.source
    outputs_first = equation(node).has_outputs_first(slot)
    weight = weight_for(node, meaning, constants, lambda stored: stored[0] if outputs_first else stored[0].T, slot=slot)
    if meaning.bias is None:
        return edit_of(node, {slot: weight}, constants)
    bias = bias_for(node, bias_along_output(meaning), constants, like=slot)
    return edit_of(node, {slot: weight}, constants, bias_behind=bias)


@FAMILY.operator("Einsum", (12, 28), encode=encode_einsum)
def decode_einsum(context: OnnxContext) -> Contraction:
    """Einsum of an activation and a constant matrix from inputs to outputs. Source: ONNX Einsum-12, -28."""
    parsed = equation(context.node)
    if not parsed.joins_two:
        raise Undecodable(Reason.UNKNOWN_OPERATOR, f"Einsum {str(parsed)!r} is not one activation and one constant")
    slot = 0 if not isinstance(context.constants.read(context.required(0)), Refusal) else 1
    return read_einsum(parsed, slot, context.weight(slot), operator="Einsum")
