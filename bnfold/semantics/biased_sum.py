"""Sums with a constant of their own, in one node that may end in an activation."""

from dataclasses import dataclass

import numpy as np

from bnfold.affine import Array
from bnfold.semantics.absorber import Absorber
from bnfold.semantics.opaque import Opaque


@dataclass(frozen=True, eq=False)
class BiasedSum(Absorber):
    """Tensors computed at run time and a constant, added up in one node that may end in an activation.

    Equation: y = f(x_0 + ... + x_n + b)
    Symbols:  x_i, y: (d_1, ..., d_r); b: (1 or d_1, ..., 1 or d_r)
    Source:   com.microsoft BiasAdd-1, BiasGelu-1, FastGelu-1

    Attributes:
        sources: index of the input that holds each x_i.
        bias: b.
        axis: the one axis along which b may vary.
        activation: f, which lets no map pass; None where there is none.
    """

    sources: tuple[int, ...]
    bias: Array
    axis: int
    activation: Opaque | None = None

    @property
    def absorbs_output(self) -> bool:
        """A scale goes to what is added."""
        return False

    @property
    def largest_factor(self) -> float:
        """See Absorber: a scale is multiplied into none."""
        return 0.0

    @property
    def rank(self) -> int:
        """Of all tensors."""
        return int(np.ndim(self.bias))
