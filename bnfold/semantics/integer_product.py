"""Products with weights of integers, whose scales and bias are floats."""

from dataclasses import dataclass

from bnfold.semantics.one_sided import Normalisation


@dataclass(frozen=True, eq=False)
class IntegerProduct(Normalisation):
    """A product with a weight of stored integers, which has scales for its outputs, or for blocks of its inputs.

    Equation: y = a * n(x) + b, where n multiplies x, or integers that x is rounded to, with the integers of the weight
    Symbols:  x: (..., K); y: (..., N); a: (..., 1 or N), what is multiplied onto the scales; b: (..., 1 or N)
    Source:   com.microsoft DynamicQuantizeMatMul-1, MatMulIntegerToFloat-1, MatMulNBits-1, MatMulBnb4-1

    Attributes:
        rounds: whether x is integers, or rounded to such.
    """

    rounds: bool = True
