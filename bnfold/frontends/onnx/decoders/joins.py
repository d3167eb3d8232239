"""Add, Sub, Sum and Mul: a constant makes them affine maps, otherwise they join branches."""

from bnfold.frontends.onnx.decoders import affine_maps
from bnfold.frontends.onnx.decoders.context import Context
from bnfold.refusal import Reason, Refusal
from bnfold.semantics import AffineMap, Operand, Product, Sum


def decode_add(context: Context) -> AffineMap | Sum:
    """Source: ONNX Add-7, -13, -14."""
    return _sum(context, (1.0, 1.0)) if _joins(context) else affine_maps.decode_add(context)


def decode_sub(context: Context) -> AffineMap | Sum:
    """Source: ONNX Sub-7, -13, -14."""
    return _sum(context, (1.0, -1.0)) if _joins(context) else affine_maps.decode_sub(context)


def decode_mul(context: Context) -> AffineMap | Product:
    """Source: ONNX Mul-7, -13, -14."""
    if not _joins(context):
        return affine_maps.decode_mul(context)
    operands = _operands(context, (1.0, 1.0))
    return Product(operands, len(operands[0].aligned_shape))


def decode_sum(context: Context) -> Sum:
    """Sum of any number of tensors. Source: ONNX Sum-6, -8, -13."""
    return _sum(context, (1.0,) * len(context.node.inputs))


def _sum(context: Context, signs: tuple[float, ...]) -> Sum:
    operands = _operands(context, signs)
    return Sum(operands, len(operands[0].aligned_shape))


def _operands(context: Context, signs: tuple[float, ...]) -> tuple[Operand, ...]:
    shapes = [context.shape(slot) for slot in range(len(signs))]
    rank = max(map(len, shapes))
    return tuple(
        Operand(
            (1,) * (rank - len(shape)) + tuple(length if isinstance(length, int) else None for length in shape),
            len(shape),
            sign,
        )
        for shape, sign in zip(shapes, signs, strict=True)
    )


def _joins(context: Context) -> bool:
    """Whether both operands are computed at run time; a constant that may not be used is another matter."""
    operands = [context.constants.read(context.required(slot)) for slot in (0, 1)]
    return all(isinstance(values, Refusal) and values.reason is Reason.DYNAMIC_PARAMETER for values in operands)
