"""Add, Sub, Sum and Mul: a constant makes them affine maps, otherwise they join branches."""

from collections.abc import Sequence

from bnfold.frontends.common.broadcasting import product_of, sum_of
from bnfold.frontends.onnx.graph import Shape, Traits
from bnfold.frontends.onnx.operators import affine_maps
from bnfold.frontends.onnx.operators.context import OnnxContext
from bnfold.frontends.onnx.operators.row import Family
from bnfold.frontends.onnx.told_shapes import broadcast
from bnfold.refusal import Reason, Refusal
from bnfold.semantics import AffineMap, BroadcastScale, Product, Sum

FAMILY = Family()


@FAMILY.operator(
    "Add",
    (7, 13, 14),
    encode=affine_maps.encode_arithmetic,
    traits=Traits(may_be_affine=True, per_number=True, commutative=True, tell_output_shape=broadcast),
)
def decode_add(context: OnnxContext) -> AffineMap | Sum:
    """Source: ONNX Add-7, -13, -14."""
    return _sum(context, (1.0, 1.0)) if _joins(context) else affine_maps.decode_add(context)


@FAMILY.operator(
    "Sub",
    (7, 13, 14),
    encode=affine_maps.encode_arithmetic,
    traits=Traits(may_be_affine=True, per_number=True, tell_output_shape=broadcast),
)
def decode_sub(context: OnnxContext) -> AffineMap | Sum:
    """Source: ONNX Sub-7, -13, -14."""
    return _sum(context, (1.0, -1.0)) if _joins(context) else affine_maps.decode_sub(context)


@FAMILY.operator(
    "Mul",
    (7, 13, 14),
    encode=affine_maps.encode_factor,
    traits=Traits(may_be_affine=True, per_number=True, multiplies=True, commutative=True, tell_output_shape=broadcast),
)
def decode_mul(context: OnnxContext) -> AffineMap | BroadcastScale | Product:
    """Source: ONNX Mul-7, -13, -14."""
    return product_of(_shapes(context, 2)) if _joins(context) else affine_maps.decode_mul(context)


@FAMILY.operator("Sum", (6, 8, 13))
def decode_sum(context: OnnxContext) -> Sum:
    """Sum of any number of tensors. Source: ONNX Sum-6, -8, -13."""
    return _sum(context, (1.0,) * len(context.node.inputs))


def _sum(context: OnnxContext, signs: Sequence[float]) -> Sum:
    tensors = {context.required(slot) for slot in range(len(signs))}
    return sum_of(_shapes(context, len(signs)), signs, of_one_tensor=len(tensors) == 1 < len(signs))


def _shapes(context: OnnxContext, count: int) -> list[Shape]:
    return [context.shape(slot) for slot in range(count)]


def _joins(context: OnnxContext) -> bool:
    """Whether both operands are computed at run time; a constant that may not be used is another matter."""
    operands = [context.constants.read(context.required(slot)) for slot in (0, 1)]
    return all(isinstance(values, Refusal) and values.reason is Reason.DYNAMIC_PARAMETER for values in operands)
