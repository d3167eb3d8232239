"""Numbers that are taken from one tensor or another."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from bnfold.affine import Array
from bnfold.semantics.joins import Operand


@dataclass(frozen=True, eq=False)
class Choice:
    """Each number is that of one of several tensors: by a mask, or the largest or smallest of them.

    Equation: y = x_1 where the mask is true, x_2 elsewhere; y = max(x_0, ..., x_n); y = min(x_0, ..., x_n)
    Symbols:  x_i, mask: of any rank, aligned at their last axes and repeated to the shape of y
    Source:   ONNX Where-16, Max-13, Min-13

    Attributes:
        rank: of y.
        operands: those of the x_i that are computed at run time, by index of the input.
        constants: the values of the others, by index, of the rank of y, of length 1 where they are alike; they take
            maps themselves.
        mask: of the rank of y; None where it is known only at run time, or where there is none.
        by_size: whether the largest or smallest is taken, whose order a negative scale would turn around.
    """

    rank: int
    operands: Mapping[int, Operand]
    constants: Mapping[int, Array] = field(default_factory=dict)
    mask: npt.NDArray[np.bool_] | None = None
    by_size: bool = False
