"""Sums and products of tensors that are all computed at run time; with a constant they are affine maps."""

from bnfold.frontends.aten.node import AtenValue, Shape
from bnfold.frontends.aten.operators import affine_maps
from bnfold.frontends.aten.operators.affine_maps import encode_add, encode_mul, encode_rsub, encode_sub
from bnfold.frontends.aten.operators.call import AtenCall
from bnfold.frontends.aten.operators.family import AtenFamily
from bnfold.frontends.common.broadcasting import product_of, sum_of
from bnfold.frontends.common.undecodable import Undecodable
from bnfold.refusal import Reason
from bnfold.semantics import AffineMap, Concatenation, Product, Sum

FAMILY = AtenFamily()


@FAMILY.operator("add", encode=encode_add)
def decode_add(call: AtenCall) -> AffineMap | Sum:
    """Source: torch.add."""
    return _sum(call, 1.0, affine_maps.alpha(call)) if _joins(call) else affine_maps.decode_add(call)


@FAMILY.operator("sub", "subtract", encode=encode_sub)
def decode_sub(call: AtenCall) -> AffineMap | Sum:
    """Source: torch.sub."""
    return _sum(call, 1.0, -affine_maps.alpha(call)) if _joins(call) else affine_maps.decode_sub(call)


@FAMILY.operator("rsub", encode=encode_rsub)
def decode_rsub(call: AtenCall) -> AffineMap | Sum:
    """Source: torch.rsub."""
    return _sum(call, -affine_maps.alpha(call), 1.0) if _joins(call) else affine_maps.decode_rsub(call)


@FAMILY.operator("mul", "multiply", encode=encode_mul)
def decode_mul(call: AtenCall) -> AffineMap | Product:
    """Source: torch.mul."""
    return product_of(_shapes(call)) if _joins(call) else affine_maps.decode_mul(call)


@FAMILY.operator("cat", "concat", "concatenate")
def decode_cat(call: AtenCall) -> Concatenation:
    """Source: torch.cat."""
    tensors = call.values("tensors")
    call.require_float(*tensors)
    rank = len(call.output_shape())
    axis = call.axis("dim", rank)
    return Concatenation(axis, rank, tuple(_length(value, axis, rank) for value in tensors))


def _length(value: AtenValue, axis: int, rank: int) -> int | None:
    """None also for the empty tensors of rank 1 that cat skips."""
    length = value.shape[axis] if value.shape is not None and len(value.shape) == rank else None
    return length if isinstance(length, int) else None


def _sum(call: AtenCall, *signs: float) -> Sum:
    if any(sign not in (1.0, -1.0) for sign in signs):
        raise Undecodable(Reason.NOT_LINEAR, f"alpha is {affine_maps.alpha(call)}, only 1 and -1 are understood")
    return sum_of(_shapes(call), signs)


def _shapes(call: AtenCall) -> list[Shape]:
    call.require_float(call.value("self"), call.value("other"))
    return [call.shape("self"), call.shape("other")]


def _joins(call: AtenCall) -> bool:
    """Whether both operands are computed at run time; a constant that may not be used is another matter."""
    return not any(call.is_constant(call.node.arguments.get(name)) for name in ("self", "other"))
