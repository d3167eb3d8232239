"""Sums and products of tensors that are all computed at run time; with a constant they are affine maps."""

from bnfold.frontends.aten.decoders import affine_maps
from bnfold.frontends.aten.decoders.context import Context
from bnfold.frontends.aten.graph import Shape, Value
from bnfold.frontends.common.broadcasting import product_of, sum_of
from bnfold.frontends.common.undecodable import Undecodable
from bnfold.refusal import Reason
from bnfold.semantics import AffineMap, Concatenation, Product, Sum


def decode_add(context: Context) -> AffineMap | Sum:
    """Source: torch.add."""
    return _sum(context, 1.0, affine_maps.alpha(context)) if _joins(context) else affine_maps.decode_add(context)


def decode_sub(context: Context) -> AffineMap | Sum:
    """Source: torch.sub."""
    return _sum(context, 1.0, -affine_maps.alpha(context)) if _joins(context) else affine_maps.decode_sub(context)


def decode_rsub(context: Context) -> AffineMap | Sum:
    """Source: torch.rsub."""
    return _sum(context, -affine_maps.alpha(context), 1.0) if _joins(context) else affine_maps.decode_rsub(context)


def decode_mul(context: Context) -> AffineMap | Product:
    """Source: torch.mul."""
    return product_of(_shapes(context)) if _joins(context) else affine_maps.decode_mul(context)


def decode_cat(context: Context) -> Concatenation:
    """Source: torch.cat."""
    tensors = context.values("tensors")
    context.require_float(*tensors)
    rank = len(context.output_shape())
    axis = context.axis("dim", rank)
    return Concatenation(axis, rank, tuple(_length(value, axis, rank) for value in tensors))


def _length(value: Value, axis: int, rank: int) -> int | None:
    """None also for the empty tensors of rank 1 that cat skips."""
    length = value.shape[axis] if value.shape is not None and len(value.shape) == rank else None
    return length if isinstance(length, int) else None


def _sum(context: Context, *signs: float) -> Sum:
    if any(sign not in (1.0, -1.0) for sign in signs):
        raise Undecodable(Reason.NOT_LINEAR, f"alpha is {affine_maps.alpha(context)}, only 1 and -1 are understood")
    return sum_of(_shapes(context), signs)


def _shapes(context: Context) -> list[Shape]:
    context.require_float(context.value("self"), context.value("other"))
    return [context.shape("self"), context.shape("other")]


def _joins(context: Context) -> bool:
    """Whether both operands are computed at run time; a constant that may not be used is another matter."""
    return not any(context.is_constant(context.node.arguments.get(name)) for name in ("self", "other"))
