"""Operands of different shapes, aligned at their last axes as ONNX and PyTorch both do."""

from collections.abc import Sequence

from bnfold.affine import Array
from bnfold.frontends.common.undecodable import Undecodable
from bnfold.refusal import Reason
from bnfold.regrouping import Dim
from bnfold.semantics import Operand, Product, Sum


def with_leading_ones(values: Array, rank: int) -> Array:
    """The same values with axes of length 1 in front, up to this rank."""
    return values.reshape((1,) * (rank - values.ndim) + values.shape)


def with_rank_of(constant: Array, activation: tuple[Dim, ...]) -> Array:
    """A constant with the rank of the activation that it meets, and must not widen.

    Args:
        constant: the values.
        activation: its shape.
    """
    if constant.ndim > len(activation):
        raise Undecodable(
            Reason.BROADCASTS_ACTIVATION, f"a constant of rank {constant.ndim} meets a tensor of rank {len(activation)}"
        )
    aligned = with_leading_ones(constant, len(activation))
    for axis, known in enumerate(activation):
        length = int(aligned.shape[axis])
        if length == 1 or length == known:
            continue
        if not isinstance(known, int):
            raise Undecodable(
                Reason.UNKNOWN_SHAPE, f"axis {axis} of the activation may be 1, then the constant would widen it"
            )
        raise Undecodable(
            Reason.BROADCASTS_ACTIVATION, f"the constant has {length} entries on axis {axis}, the activation {known}"
        )
    return aligned


def sum_of(shapes: Sequence[tuple[Dim, ...]], signs: Sequence[float], *, of_one_tensor: bool = False) -> Sum:
    """The signed sum of tensors of these shapes, or of one tensor several times."""
    return Sum(_operands(shapes, signs), max(map(len, shapes)), of_one_tensor)


def product_of(shapes: Sequence[tuple[Dim, ...]], *, takes_bias: bool = False) -> Product:
    """The product of tensors of these shapes; `takes_bias` as of `Product`."""
    return Product(_operands(shapes, (1.0,) * len(shapes)), max(map(len, shapes)), takes_bias=takes_bias)


def _operands(shapes: Sequence[tuple[Dim, ...]], signs: Sequence[float]) -> tuple[Operand, ...]:
    rank = max(map(len, shapes))
    return tuple(
        Operand(
            (1,) * (rank - len(shape)) + tuple(length if isinstance(length, int) else None for length in shape),
            len(shape),
            sign,
        )
        for shape, sign in zip(shapes, signs, strict=True)
    )
