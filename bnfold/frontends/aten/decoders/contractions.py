"""Convolutions and products with a constant matrix, read as contractions with one layout of the weight."""

from collections.abc import Callable

import numpy as np

from bnfold.affine import Array
from bnfold.frontends.aten.decoders.call import AtenCall
from bnfold.frontends.aten.decoders.windows import read_window
from bnfold.frontends.common.broadcasting import with_leading_ones
from bnfold.frontends.common.convolutions import (
    PLACES_DIFFER,
    ZEROS_PADDED,
    convolution,
    divides,
    has_one_place,
    inputs_first,
    on_axis,
    outputs_first,
)
from bnfold.frontends.common.einsum import parse_equation, read_einsum
from bnfold.frontends.common.undecodable import Undecodable, malformed
from bnfold.refusal import Reason
from bnfold.semantics import Contraction, NoShift
from bnfold.window import Window


def decode_conv(call: AtenCall) -> Contraction:
    """conv1d, conv2d, conv3d, with or without a batch axis. Source: torch.nn.functional.conv2d."""
    padding = call.fixed("padding")
    pads = padding == "same" or (not isinstance(padding, str) and any(padding))
    weight = outputs_first(*_stored(call))
    pads = pads and not (padding == "same" and has_one_place(weight))
    return _convolution(call, weight, ZEROS_PADDED if pads else None, read_window(call, weight.shape[3:]))


def decode_conv_transpose(call: AtenCall) -> Contraction:
    """conv_transpose1d, 2d, 3d: the weight is (inputs, outputs / groups, *kernel).

    Source: torch.nn.functional.conv_transpose2d
    """
    weight = inputs_first(*_stored(call))
    spreads = any(step > 1 for step in call.fixed("stride")) or any(
        any(call.fixed(name)) for name in ("padding", "output_padding")
    )
    one_place = has_one_place(weight) and not spreads
    return _convolution(call, weight, None if one_place else PLACES_DIFFER)


def decode_convolution(call: AtenCall) -> Contraction:
    """Operators convolution and _convolution: both directions in one operator. Source: native_functions.yaml."""
    return decode_conv_transpose(call) if call.fixed("transposed") else decode_conv(call)


def _stored(call: AtenCall) -> tuple[Array, int]:
    weight, groups = call.parameter("weight", dynamic=Reason.DYNAMIC_WEIGHT), int(call.fixed("groups"))
    if not divides(weight, groups):
        raise malformed(f"{call.node.op} has a weight of shape {weight.shape} and {groups} groups")
    return weight, groups


def _convolution(call: AtenCall, weight: Array, no_shift: NoShift | None, window: Window | None = None) -> Contraction:
    rank, spatial = len(call.shape("input")), weight.ndim - 3
    if rank not in (spatial + 1, spatial + 2):
        raise malformed(f"{call.node.op} with {spatial} spatial axes has an input of rank {rank}")
    bias = call.optional_parameter("bias", dynamic=Reason.DYNAMIC_BIAS)
    return convolution(weight, bias, rank, rank - spatial - 1, no_shift, window)


def decode_linear(call: AtenCall) -> Contraction:
    """The product x W' + b over the last axis of x, of any rank: never over axis 1, even where that is as long.

    Source: torch.nn.functional.linear
    """
    weight = call.parameter("weight", dynamic=Reason.DYNAMIC_WEIGHT)
    if weight.ndim != 2:
        raise Undecodable(Reason.WRONG_AXIS, f"linear has a weight of shape {weight.shape}, only rank 2 folds")
    rank = len(call.shape("input"))
    bias = call.optional_parameter("bias", dynamic=Reason.DYNAMIC_BIAS)
    if bias is not None:
        if bias.shape not in ((weight.shape[0],), (1,), ()):
            raise malformed(f"the bias has shape {bias.shape}, expected ({weight.shape[0]},)")
        bias = on_axis(np.broadcast_to(bias, weight.shape[:1]), rank, rank - 1)
    return Contraction(weight[None], bias, rank, output_axis=rank - 1, input_axis=rank - 1, window=Window())


def decode_addmm(call: AtenCall) -> Contraction:
    """The sum beta * self + alpha * (mat1 @ mat2) with a constant mat2 and self. Source: torch.addmm."""
    _keeps_type(call)
    stored = call.parameter("mat2", dynamic=Reason.DYNAMIC_WEIGHT)
    if stored.ndim != 2:
        raise malformed(f"addmm has a mat2 of shape {stored.shape}, expected rank 2")
    weight = stored.T[None] * float(call.fixed("alpha"))
    bias = call.parameter("self", dynamic=Reason.DYNAMIC_BIAS)
    if bias.ndim > 2 or bias.shape[-1:] not in ((), (1,), (weight.shape[1],)):
        raise malformed(f"addmm adds a tensor of shape {bias.shape} to {weight.shape[1]} columns")
    bias = with_leading_ones(bias, 2) * float(call.fixed("beta"))
    return Contraction(weight, bias, 2, output_axis=1, input_axis=1, source=call.source("mat1"), window=Window())


def decode_mat_mul(call: AtenCall) -> Contraction:
    """Matmul and mm with a constant matrix on either side. Source: torch.matmul."""
    return _mat_mul(call, _matrix, takes_bias=True)


def decode_batched_mat_mul(call: AtenCall) -> Contraction:
    """Bmm with a constant that holds the same matrix again and again, on either side. Source: torch.bmm."""
    return _mat_mul(call, _repeated_matrix, takes_bias=False)


def _mat_mul(call: AtenCall, read: Callable[[AtenCall, str], Array], *, takes_bias: bool) -> Contraction:
    _keeps_type(call)
    right = "other" if "other" in call.node.arguments else "mat2"
    if call.is_constant(call.value("self")):
        return _constant_on_the_left(call, read(call, "self"), right)
    matrix = read(call, right)
    rank = len(call.shape("self"))
    last = len(call.output_shape()) - 1
    holds_bias = takes_bias and rank == 2
    return Contraction(
        matrix.T[None], None, last + 1, output_axis=last, input_axis=rank - 1, holds_bias=holds_bias, window=Window()
    )


def _constant_on_the_left(call: AtenCall, matrix: Array, right: str) -> Contraction:
    """W x: rows of W make the output channels, on the last axis but one."""
    rank = len(call.shape(right))
    if rank < 2 or len(call.output_shape()) != rank:
        raise Undecodable(Reason.WRONG_AXIS, f"a constant matrix on the left of a tensor of rank {rank}")
    axis = rank - 2
    return Contraction(
        matrix[None],
        None,
        rank,
        output_axis=axis,
        input_axis=axis,
        holds_bias=False,
        source=call.source(right),
        window=Window(),
    )


def _matrix(call: AtenCall, name: str) -> Array:
    stored = call.parameter(name, dynamic=Reason.DYNAMIC_WEIGHT)
    if stored.ndim != 2:
        raise Undecodable(
            Reason.WRONG_AXIS, f"{call.node.op} has a constant of shape {stored.shape}, only rank 2 folds"
        )
    return stored


def _repeated_matrix(call: AtenCall, name: str) -> Array:
    """One of a stack of matrices that are all equal."""
    stored = call.parameter(name, dynamic=Reason.DYNAMIC_WEIGHT)
    if stored.ndim != 3 or np.any(stored != stored[:1]):
        raise Undecodable(
            Reason.WRONG_AXIS, f"{call.node.op} has a constant of shape {stored.shape}, and only equal matrices fold"
        )
    matrix: Array = stored[0]
    return matrix


def decode_einsum(call: AtenCall) -> Contraction:
    """An einsum of an activation and a constant matrix from inputs to outputs. Source: torch.einsum."""
    text = str(call.fixed("equation")).replace(" ", "")
    parsed, tensors = parse_equation(text), call.values("tensors")
    if not parsed.joins_two or len(tensors) != 2:
        raise Undecodable(Reason.UNKNOWN_OPERATOR, f"einsum {text!r} is not one activation and one constant")
    slot = 0 if call.is_constant(tensors[0]) else 1
    matrix = call.parameter_at(tensors[slot], dynamic=Reason.DYNAMIC_WEIGHT)
    return read_einsum(parsed, slot, matrix, operator="einsum")


def _keeps_type(call: AtenCall) -> None:
    if "out_dtype" in call.node.arguments:
        raise Undecodable(Reason.NOT_LINEAR, f"{call.node.op} makes a tensor of another type")
