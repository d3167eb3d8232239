"""Sums and products of tensors that are all computed at run time."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from bnfold.affine import Array


@dataclass(frozen=True)
class Operand:
    """One input of a sum or product.

    Attributes:
        aligned_shape: its shape with ones in front up to the rank of the result; None where a length is not known.
        rank: its own rank.
        sign: the factor that it has in a sum: -1 where it is subtracted, 1 / n in a mean of n.
    """

    aligned_shape: tuple[int | None, ...]
    rank: int
    sign: float = 1.0


@dataclass(frozen=True)
class Sum:
    """A sum of tensors that are all computed at run time.

    Equation: y = e_0 * x_0 + ... + e_n * x_n
    Symbols:  e_i: 1 or -1, or 1 / n in a mean; x_i: of any rank, aligned at their last axes and repeated to the shape
              of y
    Source:   ONNX Add-14, Sub-14, Sum-13, Mean-13

    Attributes:
        operands: x_i and e_i.
        rank: of y.
        of_one_tensor: whether all x_i are one tensor, which then takes one map.
    """

    operands: tuple[Operand, ...]
    rank: int
    of_one_tensor: bool = False


@dataclass(frozen=True)
class Product:
    """A product of tensors that are all computed at run time.

    Equation: y = x_0 * ... * x_n + b
    Symbols:  x_i: of any rank, aligned at their last axes and repeated to the shape of y; b: (1 or d_1, ..., 1 or d_r)
    Source:   ONNX Mul-14

    Attributes:
        operands: x_i.
        rank: of y.
        bias: b, which a shift becomes; None where there is none.
        takes_bias: whether it ends what computes a linear operator, of which b is the bias.
        constants: c of each x_i = c * z that others read as well, by index: of the rank of y. The product can have an
            x_i of its own, made of the same z with another c.
    """

    operands: tuple[Operand, ...]
    rank: int
    bias: Array | None = None
    takes_bias: bool = False
    constants: Mapping[int, Array] = field(default_factory=dict)
