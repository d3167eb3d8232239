"""Attention, in parts and in one node."""

from dataclasses import dataclass

from bnfold.affine import Array
from bnfold.semantics.joins import Operand


@dataclass(frozen=True)
class Factor:
    """One of two tensors whose products are summed.

    Attributes:
        axes: which axis of the result each of its axes is; None for one that is summed.
        lengths: of its axes; None where it is not known.
    """

    axes: tuple[int | None, ...]
    lengths: tuple[int | None, ...]

    @property
    def rank(self) -> int:
        """Of the tensor."""
        return len(self.axes)

    @property
    def summed(self) -> tuple[int, ...]:
        """Its axes that the result has not."""
        return tuple(axis for axis, place in enumerate(self.axes) if place is None)


@dataclass(frozen=True, eq=False)
class MatrixProduct:
    """A matrix product of two tensors that are computed at run time, or another sum of their products.

    Equation: y[..., i, j] = sum over k of x_0[..., i, k] * x_1[..., k, j] + b[j]
    Symbols:  x_0: (..., n, k), x_1: (..., k, m), y: (..., n, m), or with axes in other orders; b: (1 or m,)
    Source:   ONNX MatMul-13, Einsum-12; com.microsoft FusedMatMul-1

    Attributes:
        factors: x_0 and x_1.
        rank: of y.
        rows_sum_to_one: whether x_0 sums to 1 along the one axis that is summed, because it comes out of a softmax.
        bias: b, which a shift becomes; None where there is none.
        takes_bias: whether the operator has a form with a b.
    """

    factors: tuple[Factor, Factor]
    rank: int
    rows_sum_to_one: bool = False
    bias: Array | None = None
    takes_bias: bool = False


@dataclass(frozen=True)
class Softmax:
    """A softmax, or its logarithm: f(x + t) == f(x) for t that is alike along the axes over which it is taken.

    Equation: y = exp(x) / sum of exp(x) over the axes
    Symbols:  x, y: (d_1, ..., d_r)
    Source:   ONNX Softmax-13, LogSoftmax-13

    Attributes:
        name: of the operator, for people.
        axes: over which it is taken, from 0.
        source: index of the input that holds x.
    """

    name: str
    axes: tuple[int, ...]
    source: int = 0


@dataclass(frozen=True)
class Masking:
    """Minus infinity in the place of some numbers, or added to them: what a softmax gives no weight.

    Equation: y = x + m, with m of minus infinity and finite numbers; y = x where the mask is true, else minus infinity
    Symbols:  x: aligned with y at its last axes, each length 1 or that of y; y: (d_1, ..., d_r)
    Source:   ONNX Add-14, Where-16

    Attributes:
        operand: x.
        rank: of y.
        source: index of the input that holds x.
    """

    operand: Operand
    rank: int
    source: int = 0


@dataclass(frozen=True)
class Attention:
    """Attention in one node: a softmax over keys, whose rows weigh values.

    Equation: y = softmax(q k' + mask) (v + b)
    Symbols:  q, y: (..., n, d), k, v: (..., m, d), with keys and values on the last axis but one, and batch and heads
              in front of it, if there are axes for them; b: (d,)
    Source:   ONNX Attention-23, -24, -25, com.microsoft MultiHeadAttention-1, torch.nn.functional.
              scaled_dot_product_attention

    Attributes:
        rank: of q, k, v and y.
        key: index of the input that holds k; None where more than the softmax sees what a shift on it adds.
        value: index of the input that holds v; None where what weighs it need not sum to 1.
        adds_bias: whether the node itself adds b, which no scale of v reaches.
        heads: axes of y in front of the last two, along each of which y has one place for every place of v.
    """

    rank: int
    key: int | None
    value: int | None
    adds_bias: bool = False
    heads: tuple[int, ...] = ()
