"""Matrix products as ONNX and PyTorch both have them: with a constant, or of two tensors of the run time."""

import numpy as np

from bnfold.affine import Array
from bnfold.frontends.common.broadcasting import with_leading_ones
from bnfold.frontends.common.parameters import Layout
from bnfold.frontends.common.precision import AnyArray
from bnfold.frontends.common.undecodable import Undecodable, malformed
from bnfold.refusal import Reason
from bnfold.regrouping import Dim
from bnfold.semantics import Contraction, Factor, MatrixProduct
from bnfold.weight import Weight
from bnfold.window import Window


def as_matrix(*, outputs_first: bool) -> Layout:
    """The layout of an operator that stores a matrix, as (outputs, inputs) or as (inputs, outputs)."""
    return lambda weight: weight[0] if outputs_first else weight[0].T


def require_matrix(stored: AnyArray, operator: str) -> None:
    """Refuse a constant of another rank than 2: nothing says which axes are outputs and inputs (WRONG_AXIS)."""
    if stored.ndim != 2:
        raise Undecodable(Reason.WRONG_AXIS, f"{operator} has a constant of shape {stored.shape}, only rank 2 folds")


def times_matrix(
    matrix: AnyArray | Weight, rank: int, bias: Array | None = None, *, holds_bias: bool = True
) -> Contraction:
    """Y = x W' + b, over the last axis of x.

    Args:
        matrix: W, (outputs, inputs), of any floating-point type; or the weight that it is.
        rank: of x and y.
        bias: b, of this rank; None where there is none.
        holds_bias: as in `Contraction`.
    """
    weight = matrix if isinstance(matrix, Weight) else Weight(matrix[None])
    last = rank - 1
    return Contraction(weight, bias, rank, output_axis=last, input_axis=last, holds_bias=holds_bias, window=Window())


def matrix_times(matrix: AnyArray, rank: int, source: int, operator: str) -> Contraction:
    """Y = W x: rows of W make the output channels, on the last axis but one of x.

    Args:
        matrix: W, (outputs, inputs), of any floating-point type.
        rank: of x and y.
        source: index of the input that holds x.
        operator: its name, for the message.
    """
    if matrix.ndim != 2 or rank < 2:
        evidence = f"{operator} has a constant of shape {matrix.shape} on the left of rank {rank}"
        raise Undecodable(Reason.WRONG_AXIS, evidence)
    axis = rank - 2
    return Contraction(
        Weight(matrix[None]),
        None,
        rank,
        output_axis=axis,
        input_axis=axis,
        holds_bias=False,
        source=source,
        window=Window(),
    )


def scaled_product(
    matrix: AnyArray, alpha: float, addend: Array | None, beta: float, operator: str
) -> tuple[Weight, Array | None]:
    """Weight and bias of y = alpha * x W' + beta * c at rank 2.

    Args:
        matrix: W, (outputs, inputs), of any floating-point type.
        alpha: the factor of the product.
        addend: c, of rank 2 at most, as long as there are outputs or 1; None where there is none.
        beta: its factor.
        operator: its name, for the message.

    Returns:
        Weight (1, outputs, inputs); bias of rank 2, or None.
    """
    weight = Weight(matrix[None]).times(np.full((1, 1, 1), float(alpha)))
    if addend is None:
        return weight, None
    columns = weight.shape[1]
    if addend.ndim > 2 or addend.shape[-1:] not in ((), (1,), (columns,)):
        raise malformed(f"{operator} adds a tensor of shape {addend.shape} to {columns} columns")
    return weight, with_leading_ones(addend, 2) * beta


def product_of_activations(
    shapes: tuple[tuple[Dim, ...], tuple[Dim, ...]], transposed: tuple[bool, bool], *, rows_sum_to_one: bool
) -> MatrixProduct:
    """A matrix product of two tensors of the run time, whose axes in front of the last two are aligned at their ends.

    Args:
        shapes: of both; a vector on the left is a row that goes, one on the right a column that goes. One at most is a
            vector.
        transposed: whether the last two axes of each change places first.
        rows_sum_to_one: whether the left one sums to 1 along the axis that is summed.
    """
    left, right = shapes
    ends = (len(left) > 1) + (len(right) > 1)
    batch = max(len(left), len(right), 2) - 2
    rows, columns = batch, batch + ends - 1
    of_left: list[int | None] = [rows, None] if len(left) > 1 else [None]
    of_right: list[int | None] = [None, columns] if len(right) > 1 else [None]
    factors = (
        _factor(left, of_left[::-1] if transposed[0] else of_left, batch),
        _factor(right, of_right[::-1] if transposed[1] else of_right, batch),
    )
    return MatrixProduct(factors, batch + ends, rows_sum_to_one)


def _factor(shape: tuple[Dim, ...], ends: list[int | None], batch: int) -> Factor:
    in_front = max(len(shape) - 2, 0)
    return Factor((*range(batch - in_front, batch), *ends), lengths_of(shape))


def lengths_of(shape: tuple[Dim, ...]) -> tuple[int | None, ...]:
    """Lengths, of which those with a name alone are not known."""
    return tuple(length if isinstance(length, int) else None for length in shape)
