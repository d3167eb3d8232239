"""Ramps: max(x, 0), |x|, and x where it is positive, else a multiple of it."""

from collections.abc import Callable

import numpy as np

from bnfold.affine import Array
from bnfold.semantics import Commuting, NoShift


def relu(x: Array) -> Array:
    """max(x, 0)."""
    return np.maximum(x, 0.0)


def leaky_relu(slope: float) -> Callable[[Array], Array]:
    """X where it is positive, else slope * x."""
    return lambda x: np.where(x > 0, x, slope * x)


def ramp(rank: int, called: str, of_constants: Callable[[Array], Array] | None, source: int = 0) -> Commuting:
    """A function with f(s * x) == s * f(x) for s >= 0.

    Args:
        rank: of x and f(x).
        called: its name, for the message.
        of_constants: f on constants; None where a parameter of it is known only at run time.
        source: index of the input that holds x.
    """
    bends = NoShift(f"{called} bends at zero, and a shift moves the bend")
    return Commuting(rank, needs_non_negative_scale=True, shift_factor=bends, source=source, of_constants=of_constants)
