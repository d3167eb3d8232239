"""Convolutions and products with a constant matrix, read as contractions with one layout of the weight."""

import numpy as np

from bnfold.affine import Array
from bnfold.frontends.aten.decoders.context import Context, Undecodable, malformed
from bnfold.refusal import Reason
from bnfold.semantics import Contraction

_ZEROS = "zeros are padded, and would be shifted too"
_PARTIAL = "places of the output see different parts of the kernel"


def decode_conv(context: Context) -> Contraction:
    """conv1d, conv2d, conv3d, with or without a batch axis. Source: torch.nn.functional.conv2d."""
    padding = context.fixed("padding")
    pads = padding == "same" or (not isinstance(padding, str) and any(padding))
    weight, groups = _stored(context)
    outputs_first = weight.reshape(groups, weight.shape[0] // groups, *weight.shape[1:])
    pads = pads and not (padding == "same" and outputs_first[0, 0, 0].size == 1)
    return _convolution(context, outputs_first, _ZEROS if pads else "")


def decode_conv_transpose(context: Context) -> Contraction:
    """conv_transpose1d, 2d, 3d: the weight is (inputs, outputs / groups, *kernel).

    Source: torch.nn.functional.conv_transpose2d
    """
    weight, groups = _stored(context)
    outputs_first = weight.reshape(groups, weight.shape[0] // groups, *weight.shape[1:]).swapaxes(1, 2)
    spreads = any(step > 1 for step in context.fixed("stride")) or any(
        any(context.fixed(name)) for name in ("padding", "output_padding")
    )
    one_place = outputs_first[0, 0, 0].size == 1 and not spreads
    return _convolution(context, outputs_first, "" if one_place else _PARTIAL)


def decode_convolution(context: Context) -> Contraction:
    """Operators convolution and _convolution: both directions in one operator. Source: native_functions.yaml."""
    return decode_conv_transpose(context) if context.fixed("transposed") else decode_conv(context)


def _stored(context: Context) -> tuple[Array, int]:
    weight, groups = context.parameter("weight", dynamic=Reason.DYNAMIC_WEIGHT), int(context.fixed("groups"))
    if weight.ndim < 3 or groups < 1 or weight.shape[0] % groups:
        raise malformed(f"{context.node.op} has a weight of shape {weight.shape} and {groups} groups")
    return weight, groups


def _convolution(context: Context, weight: Array, why_no_shift: str) -> Contraction:
    rank, spatial = len(context.shape("input")), weight.ndim - 3
    if rank not in (spatial + 1, spatial + 2):
        raise malformed(f"{context.node.op} with {spatial} spatial axes has an input of rank {rank}")
    axis, channels = rank - spatial - 1, weight.shape[0] * weight.shape[1]
    bias = context.optional_parameter("bias", dynamic=Reason.DYNAMIC_BIAS)
    if bias is not None:
        if bias.shape != (channels,):
            raise malformed(f"the bias has shape {bias.shape}, expected ({channels},)")
        bias = _on_axis(bias, rank, axis)
    return Contraction(weight, bias, rank, output_axis=axis, input_axis=axis, why_no_shift=why_no_shift)


def decode_linear(context: Context) -> Contraction:
    """The product x W' + b over the last axis of x, of any rank: never over axis 1, even where that is as long.

    Source: torch.nn.functional.linear
    """
    weight = context.parameter("weight", dynamic=Reason.DYNAMIC_WEIGHT)
    if weight.ndim != 2:
        raise Undecodable(Reason.WRONG_AXIS, f"linear has a weight of shape {weight.shape}, only rank 2 folds")
    rank = len(context.shape("input"))
    bias = context.optional_parameter("bias", dynamic=Reason.DYNAMIC_BIAS)
    if bias is not None:
        if bias.shape not in ((weight.shape[0],), (1,), ()):
            raise malformed(f"the bias has shape {bias.shape}, expected ({weight.shape[0]},)")
        bias = _on_axis(np.broadcast_to(bias, weight.shape[:1]), rank, rank - 1)
    return Contraction(weight[None], bias, rank, output_axis=rank - 1, input_axis=rank - 1)


def decode_addmm(context: Context) -> Contraction:
    """The sum beta * self + alpha * (mat1 @ mat2) with a constant mat2 and self. Source: torch.addmm."""
    _keeps_type(context)
    stored = context.parameter("mat2", dynamic=Reason.DYNAMIC_WEIGHT)
    if stored.ndim != 2:
        raise malformed(f"addmm has a mat2 of shape {stored.shape}, expected rank 2")
    weight = stored.T[None] * float(context.fixed("alpha"))
    bias = context.parameter("self", dynamic=Reason.DYNAMIC_BIAS)
    if bias.ndim > 2 or bias.shape[-1:] not in ((), (1,), (weight.shape[1],)):
        raise malformed(f"addmm adds a tensor of shape {bias.shape} to {weight.shape[1]} columns")
    bias = bias.reshape((1,) * (2 - bias.ndim) + bias.shape) * float(context.fixed("beta"))
    return Contraction(weight, bias, 2, output_axis=1, input_axis=1, source=context.source("mat1"))


def decode_mat_mul(context: Context) -> Contraction:
    """matmul, mm and bmm with a constant matrix on either side. Source: torch.matmul."""
    _keeps_type(context)
    right = "other" if "other" in context.node.arguments else "mat2"
    if context.is_constant(context.value("self")):
        return _constant_on_the_left(context, right)
    matrix = _matrix(context, right)
    rank = len(context.shape("self"))
    last = len(context.output_shape()) - 1
    takes_bias = rank == 2 and context.node.op in ("aten::matmul", "aten::mm")
    return Contraction(matrix.T[None], None, last + 1, output_axis=last, input_axis=rank - 1, holds_bias=takes_bias)


def _constant_on_the_left(context: Context, right: str) -> Contraction:
    """W x: rows of W make the output channels, on the last axis but one."""
    matrix = _matrix(context, "self")
    rank = len(context.shape(right))
    if rank < 2 or len(context.output_shape()) != rank:
        raise Undecodable(Reason.WRONG_AXIS, f"a constant matrix on the left of a tensor of rank {rank}")
    axis = rank - 2
    return Contraction(
        matrix[None],
        None,
        rank,
        output_axis=axis,
        input_axis=axis,
        holds_bias=False,
        source=context.source(right),
    )


def _matrix(context: Context, name: str) -> Array:
    """A constant of rank 2, or one of rank 3 that holds the same matrix again and again."""
    stored = context.parameter(name, dynamic=Reason.DYNAMIC_WEIGHT)
    if context.node.op == "aten::bmm" and stored.ndim == 3 and not np.any(stored != stored[:1]):
        matrix: Array = stored[0]
        return matrix
    if stored.ndim != 2:
        raise Undecodable(
            Reason.WRONG_AXIS, f"{context.node.op} has a constant of shape {stored.shape}, only rank 2 folds"
        )
    return stored


def decode_einsum(context: Context) -> Contraction:
    """An einsum of an activation and a constant matrix from inputs to outputs. Source: torch.einsum."""
    text = str(context.fixed("equation")).replace(" ", "")
    terms, _, result = text.partition("->")
    operands, tensors = terms.split(","), context.values("tensors")
    if not result or len(operands) != 2 or len(tensors) != 2 or "." in text:
        raise Undecodable(Reason.UNKNOWN_OPERATOR, f"einsum {text!r} is not one activation and one constant")
    slot = 0 if context.is_constant(tensors[0]) else 1
    weight, activation = operands[slot], operands[1 - slot]
    stored = context.parameter_at(tensors[slot], dynamic=Reason.DYNAMIC_WEIGHT)
    outputs = [letter for letter in weight if letter in result and letter not in activation]
    inputs = [letter for letter in weight if letter in activation and letter not in result]
    if len(outputs) != 1 or len(inputs) != 1 or stored.ndim != 2 or len(set(activation)) != len(activation):
        raise Undecodable(Reason.WRONG_AXIS, f"in einsum {text!r} the constant is no matrix from inputs to outputs")
    return Contraction(
        (stored if weight[0] == outputs[0] else stored.T)[None],
        None,
        len(result),
        output_axis=result.index(outputs[0]),
        input_axis=activation.index(inputs[0]),
        holds_bias=False,
        source=1 - slot,
    )


def _keeps_type(context: Context) -> None:
    if "out_dtype" in context.node.arguments:
        raise Undecodable(Reason.NOT_LINEAR, f"{context.node.op} makes a tensor of another type")


def _on_axis(vector: Array, rank: int, axis: int) -> Array:
    return vector.reshape((1,) * axis + (-1,) + (1,) * (rank - axis - 1))
