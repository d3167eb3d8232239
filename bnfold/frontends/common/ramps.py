"""What ramps make of constants: max(x, 0), |x|, and x where it is positive, else a multiple of it."""

from collections.abc import Callable

import numpy as np

from bnfold.affine import Array


def relu(x: Array) -> Array:
    """max(x, 0)."""
    return np.maximum(x, 0.0)


def leaky_relu(slope: float) -> Callable[[Array], Array]:
    """X where it is positive, else slope * x."""
    return lambda x: np.where(x > 0, x, slope * x)
