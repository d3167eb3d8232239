"""Numbers that are taken from one tensor or another."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from bnfold.affine import Array
from bnfold.semantics.joins import Operand


@dataclass(frozen=True, eq=False)
class Choice:
    """Each number is that of one of two tensors.

    Equation: y = x_1 where the mask is true, x_2 elsewhere
    Symbols:  x_1, x_2, mask: of any rank, aligned at their last axes and repeated to the shape of y
    Source:   ONNX Where-16

    Attributes:
        rank: of y.
        operands: those of x_1 and x_2 that are computed at run time, by index of the input.
        constants: the values of the others, by index, of the rank of y, of length 1 where they are alike; they take
            maps themselves.
        mask: of the rank of y; None where it is known only at run time.
    """

    rank: int
    operands: Mapping[int, Operand]
    constants: Mapping[int, Array] = field(default_factory=dict)
    mask: npt.NDArray[np.bool_] | None = None
