"""Conv, ConvTranspose, Gemm and MatMul, read as contractions with one layout of the weight."""

from bnfold.affine import Array
from bnfold.frontends.onnx.attributes import attribute
from bnfold.frontends.onnx.decoders.context import Context, Undecodable, malformed
from bnfold.refusal import Reason
from bnfold.semantics import Contraction


def decode_conv(context: Context) -> Contraction:
    """Conv: weight (M, C / group, *kernel), bias (M,). Source: ONNX Conv-1, -11, -22."""
    stored = context.parameter(1, dynamic=Reason.DYNAMIC_WEIGHT)
    groups = attribute(context.node, "group", 1)
    if stored.ndim < 3 or groups < 1 or stored.shape[0] % groups:
        raise malformed(f"Conv has a weight of shape {stored.shape} and group {groups}")
    weight = stored.reshape(groups, stored.shape[0] // groups, *stored.shape[1:])
    return _convolution(context, weight)


def decode_conv_transpose(context: Context) -> Contraction:
    """ConvTranspose: weight (C, M / group, *kernel), bias (M,). Source: ONNX ConvTranspose-1, -11, -22."""
    stored = context.parameter(1, dynamic=Reason.DYNAMIC_WEIGHT)
    groups = attribute(context.node, "group", 1)
    if stored.ndim < 3 or groups < 1 or stored.shape[0] % groups:
        raise malformed(f"ConvTranspose has a weight of shape {stored.shape} and group {groups}")
    weight = stored.reshape(groups, stored.shape[0] // groups, *stored.shape[1:]).swapaxes(1, 2)
    return _convolution(context, weight)


def _convolution(context: Context, weight: Array) -> Contraction:
    rank = weight.ndim - 1
    channels = weight.shape[0] * weight.shape[1]
    bias = context.optional_parameter(2, dynamic=Reason.DYNAMIC_BIAS)
    if bias is not None:
        if bias.shape != (channels,):
            raise malformed(f"the bias has shape {bias.shape}, expected ({channels},)")
        bias = bias.reshape(1, channels, *(1,) * (rank - 2))
    return Contraction(weight, bias, output_rank=rank, output_axis=1)


def decode_gemm(context: Context) -> Contraction:
    """Gemm: alpha * A' B' + beta * C with a constant B and C. Source: ONNX Gemm-7, -9, -11, -13."""
    node = context.node
    stored = context.parameter(1, dynamic=Reason.DYNAMIC_WEIGHT)
    if stored.ndim != 2:
        raise malformed(f"Gemm has a weight of shape {stored.shape}, expected rank 2")
    outputs_first = stored if attribute(node, "transB", 0) else stored.T
    weight = outputs_first[None] * attribute(node, "alpha", 1.0)
    bias = context.optional_parameter(2, dynamic=Reason.DYNAMIC_BIAS)
    if bias is not None:
        if bias.ndim > 2 or bias.shape[-1:] not in ((), (1,), (weight.shape[1],)):
            raise malformed(f"Gemm has a C of shape {bias.shape} for {weight.shape[1]} columns")
        bias = bias.reshape((1,) * (2 - bias.ndim) + bias.shape) * attribute(node, "beta", 1.0)
    return Contraction(weight, bias, output_rank=2, output_axis=1)


def decode_mat_mul(context: Context) -> Contraction:
    """MatMul with a constant right-hand side of rank 2. Source: ONNX MatMul-1, -9, -13."""
    stored = context.parameter(1, dynamic=Reason.DYNAMIC_WEIGHT)
    if stored.ndim != 2:
        raise Undecodable(Reason.WRONG_AXIS, f"MatMul has a constant of shape {stored.shape}, only rank 2 folds")
    rank = len(context.shape(0))
    return Contraction(stored.T[None], None, output_rank=rank, output_axis=rank - 1, holds_bias=rank == 2)
