"""Conv, ConvTranspose, Gemm and MatMul, read as contractions with one layout of the weight."""

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
)
from bnfold.frontends.common.einsum import read_einsum
from bnfold.frontends.common.undecodable import Undecodable, malformed
from bnfold.frontends.onnx.attributes import attribute, equation
from bnfold.frontends.onnx.decoders.context import OnnxContext
from bnfold.frontends.onnx.decoders.windows import read_window
from bnfold.refusal import Reason, Refusal
from bnfold.semantics import Contraction
from bnfold.window import Window


def decode_conv(context: OnnxContext) -> Contraction:
    """Conv: weight (M, C / group, *kernel), bias (M,). Source: ONNX Conv-1, -11, -22."""
    stored = context.parameter(1, dynamic=Reason.DYNAMIC_WEIGHT)
    groups = attribute(context.node, "group", 1)
    if not divides(stored, groups):
        raise malformed(f"Conv has a weight of shape {stored.shape} and group {groups}")
    weight = outputs_first(stored, groups)
    window = read_window(context.node, weight.shape[3:])
    return _convolution(context, weight, ZEROS_PADDED if _pads(context, weight) else "", window)


def decode_conv_transpose(context: OnnxContext) -> Contraction:
    """ConvTranspose: weight (C, M / group, *kernel), bias (M,). Source: ONNX ConvTranspose-1, -11, -22."""
    stored = context.parameter(1, dynamic=Reason.DYNAMIC_WEIGHT)
    groups = attribute(context.node, "group", 1)
    if not divides(stored, groups):
        raise malformed(f"ConvTranspose has a weight of shape {stored.shape} and group {groups}")
    weight = inputs_first(stored, groups)
    one_place = has_one_place(weight) and not _spreads(context)
    return _convolution(context, weight, "" if one_place else PLACES_DIFFER)


def _pads(context: OnnxContext, weight: Array) -> bool:
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


def _convolution(context: OnnxContext, weight: Array, why_no_shift: str, window: Window | None = None) -> Contraction:
    bias = context.optional_parameter(2, dynamic=Reason.DYNAMIC_BIAS)
    return convolution(weight, bias, weight.ndim - 1, 1, why_no_shift, window)


def decode_gemm(context: OnnxContext) -> Contraction:
    """Gemm: alpha * A' B' + beta * C with a constant B and C. Source: ONNX Gemm-7, -9, -11, -13."""
    node = context.node
    context.require_float(1)
    stored = context.parameter(1, dynamic=Reason.DYNAMIC_WEIGHT)
    if stored.ndim != 2:
        raise malformed(f"Gemm has a weight of shape {stored.shape}, expected rank 2")
    matrix = stored if attribute(node, "transB", 0) else stored.T
    weight = matrix[None] * attribute(node, "alpha", 1.0)
    bias = context.optional_parameter(2, dynamic=Reason.DYNAMIC_BIAS)
    if bias is not None:
        if bias.ndim > 2 or bias.shape[-1:] not in ((), (1,), (weight.shape[1],)):
            raise malformed(f"Gemm has a C of shape {bias.shape} for {weight.shape[1]} columns")
        bias = with_leading_ones(bias, 2) * attribute(node, "beta", 1.0)
    input_axis = 0 if attribute(node, "transA", 0) else 1
    return Contraction(weight, bias, 2, output_axis=1, input_axis=input_axis, window=Window())


def decode_mat_mul(context: OnnxContext) -> Contraction:
    """MatMul with a constant of rank 2 on either side. Source: ONNX MatMul-1, -9, -13."""
    if not isinstance(context.constants.read(context.required(0)), Refusal):
        return _constant_on_the_left(context)
    context.require_float(1)
    stored = context.parameter(1, dynamic=Reason.DYNAMIC_WEIGHT)
    if stored.ndim != 2:
        raise Undecodable(Reason.WRONG_AXIS, f"MatMul has a constant of shape {stored.shape}, only rank 2 folds")
    rank = len(context.shape(0))
    last = rank - 1
    return Contraction(
        stored.T[None], None, rank, output_axis=last, input_axis=last, holds_bias=rank == 2, window=Window()
    )


def _constant_on_the_left(context: OnnxContext) -> Contraction:
    """W x: rows of W make the output channels, on the last axis but one."""
    context.require_float(0)
    stored = context.parameter(0, dynamic=Reason.DYNAMIC_WEIGHT)
    rank = len(context.shape(1))
    if stored.ndim != 2 or rank < 2:
        raise Undecodable(
            Reason.WRONG_AXIS, f"MatMul has a constant of shape {stored.shape} on the left of rank {rank}"
        )
    axis = rank - 2
    return Contraction(
        stored[None], None, rank, output_axis=axis, input_axis=axis, holds_bias=False, source=1, window=Window()
    )


def decode_einsum(context: OnnxContext) -> Contraction:
    """Einsum of an activation and a constant matrix from inputs to outputs. Source: ONNX Einsum-12, -28."""
    parsed = equation(context.node)
    if not parsed.joins_two:
        raise Undecodable(Reason.UNKNOWN_OPERATOR, f"Einsum {str(parsed)!r} is not one activation and one constant")
    slot = 0 if not isinstance(context.constants.read(context.required(0)), Refusal) else 1
    return read_einsum(parsed, slot, context.parameter(slot, dynamic=Reason.DYNAMIC_WEIGHT), operator="Einsum")
