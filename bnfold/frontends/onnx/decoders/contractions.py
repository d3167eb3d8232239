"""Conv, ConvTranspose, Gemm and MatMul, read as contractions with one layout of the weight."""

from bnfold.affine import Array
from bnfold.frontends.onnx.attributes import attribute, equation
from bnfold.frontends.onnx.decoders.context import Context, Undecodable, malformed
from bnfold.refusal import Reason, Refusal
from bnfold.semantics import Contraction


def decode_conv(context: Context) -> Contraction:
    """Conv: weight (M, C / group, *kernel), bias (M,). Source: ONNX Conv-1, -11, -22."""
    stored = context.parameter(1, dynamic=Reason.DYNAMIC_WEIGHT)
    groups = attribute(context.node, "group", 1)
    if stored.ndim < 3 or groups < 1 or stored.shape[0] % groups:
        raise malformed(f"Conv has a weight of shape {stored.shape} and group {groups}")
    weight = stored.reshape(groups, stored.shape[0] // groups, *stored.shape[1:])
    return _convolution(context, weight, "zeros are padded, and would be shifted too" if _pads(context, weight) else "")


def decode_conv_transpose(context: Context) -> Contraction:
    """ConvTranspose: weight (C, M / group, *kernel), bias (M,). Source: ONNX ConvTranspose-1, -11, -22."""
    stored = context.parameter(1, dynamic=Reason.DYNAMIC_WEIGHT)
    groups = attribute(context.node, "group", 1)
    if stored.ndim < 3 or groups < 1 or stored.shape[0] % groups:
        raise malformed(f"ConvTranspose has a weight of shape {stored.shape} and group {groups}")
    weight = stored.reshape(groups, stored.shape[0] // groups, *stored.shape[1:]).swapaxes(1, 2)
    one_place = weight[0, 0, 0].size == 1 and not _spreads(context)
    return _convolution(context, weight, "" if one_place else "places of the output see different parts of the kernel")


def _pads(context: Context, weight: Array) -> bool:
    automatic = attribute(context.node, "auto_pad", b"NOTSET")
    return any(attribute(context.node, "pads", None) or ()) or (
        automatic.startswith(b"SAME") and weight[0, 0, 0].size > 1
    )


def _spreads(context: Context) -> bool:
    """Whether a transposed kernel of one place still leaves places of the output without input."""
    node = context.node
    strides = attribute(node, "strides", None) or ()
    widened = any(attribute(node, name, None) for name in ("output_padding", "output_shape", "pads"))
    return any(stride > 1 for stride in strides) or widened or attribute(node, "auto_pad", b"NOTSET") != b"NOTSET"


def _convolution(context: Context, weight: Array, why_no_shift: str) -> Contraction:
    rank = weight.ndim - 1
    channels = weight.shape[0] * weight.shape[1]
    bias = context.optional_parameter(2, dynamic=Reason.DYNAMIC_BIAS)
    if bias is not None:
        if bias.shape != (channels,):
            raise malformed(f"the bias has shape {bias.shape}, expected ({channels},)")
        bias = bias.reshape(1, channels, *(1,) * (rank - 2))
    return Contraction(weight, bias, rank, output_axis=1, input_axis=1, why_no_shift=why_no_shift)


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
    return Contraction(weight, bias, 2, output_axis=1, input_axis=0 if attribute(node, "transA", 0) else 1)


def decode_mat_mul(context: Context) -> Contraction:
    """MatMul with a constant of rank 2 on either side. Source: ONNX MatMul-1, -9, -13."""
    if not isinstance(context.constants.read(context.required(0)), Refusal):
        return _constant_on_the_left(context)
    stored = context.parameter(1, dynamic=Reason.DYNAMIC_WEIGHT)
    if stored.ndim != 2:
        raise Undecodable(Reason.WRONG_AXIS, f"MatMul has a constant of shape {stored.shape}, only rank 2 folds")
    rank = len(context.shape(0))
    last = rank - 1
    return Contraction(stored.T[None], None, rank, output_axis=last, input_axis=last, holds_bias=rank == 2)


def _constant_on_the_left(context: Context) -> Contraction:
    """W x: rows of W make the output channels, on the last axis but one."""
    stored = context.parameter(0, dynamic=Reason.DYNAMIC_WEIGHT)
    rank = len(context.shape(1))
    if stored.ndim != 2 or rank < 2:
        raise Undecodable(
            Reason.WRONG_AXIS, f"MatMul has a constant of shape {stored.shape} on the left of rank {rank}"
        )
    axis = rank - 2
    return Contraction(stored[None], None, rank, output_axis=axis, input_axis=axis, holds_bias=False, source=1)


def decode_einsum(context: Context) -> Contraction:
    """Einsum of an activation and a constant matrix from inputs to outputs. Source: ONNX Einsum-12, -28."""
    operands, result = equation(context.node)
    text = f"{','.join(operands)}->{result}"
    if not result or len(operands) != 2 or "." in text:
        raise Undecodable(Reason.UNKNOWN_OPERATOR, f"Einsum {text!r} is not one activation and one constant")
    slot = 0 if not isinstance(context.constants.read(context.required(0)), Refusal) else 1
    weight, activation = operands[slot], operands[1 - slot]
    stored = context.parameter(slot, dynamic=Reason.DYNAMIC_WEIGHT)
    outputs = [letter for letter in weight if letter in result and letter not in activation]
    inputs = [letter for letter in weight if letter in activation and letter not in result]
    if len(outputs) != 1 or len(inputs) != 1 or stored.ndim != 2 or len(set(activation)) != len(activation):
        raise Undecodable(Reason.WRONG_AXIS, f"in Einsum {text!r} the constant is no matrix from inputs to outputs")
    return Contraction(
        (stored if weight[0] == outputs[0] else stored.T)[None],
        None,
        len(result),
        output_axis=result.index(outputs[0]),
        input_axis=activation.index(inputs[0]),
        holds_bias=False,
        source=1 - slot,
    )
