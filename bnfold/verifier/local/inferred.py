"""Which map leads from what a tensor holds in the new model to what it holds in the original, if one does.

A fold may let a tensor hold y instead of x = scale * y + shift, and the readers of it take the inverse. Nobody has to
say so: what both models make of the same values shows it. What is read off here is only proposed. As a claim it is put
to the test like any other (`bnfold.verifier.models.held`), and can excuse nothing.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from bnfold.verifier.models.held import Map

Array = npt.NDArray[Any]

_CLOSE = 1e-4
"""Of the largest value of a channel: far above what rounding of float32 weights does, far below another function."""
_CONSTANT = 2.0**-40
_TOKENS = 3


@dataclass(frozen=True, eq=False)
class Inferred:
    """What a tensor of the new model seems to hold.

    Attributes:
        map: y, for the original's x = scale * y + shift.
        fixed: the y of channels that hold a constant in both models, of the map's shape; NaN of all others. Nothing
            says what other values would stand for.
    """

    map: Map
    fixed: Array


def infer_map(x: tuple[Array, Array], y: tuple[Array, Array]) -> Inferred | None:
    """One number for each channel of a scale and a shift.

    The scale comes of differences from what zeros make, and the shift of what zeros make themselves: there it is not
    drowned in what large values make.

    Args:
        x: what the original makes of random values and of zeros, float64, (N, C, ...) or (N, T, C).
        y: what the new model makes of them.

    Returns:
        The map, of the tensor's rank; None where there is none, or where every y is its x.
    """
    arrays = (*x, *y)
    shapes = {array.shape for array in arrays}
    if len(shapes) != 1 or arrays[0].ndim <= 1 or not all(np.isfinite(array).all() for array in arrays):
        return None
    axes = (1, -1) if arrays[0].ndim == _TOKENS else (1,)
    found = (_along(axis, x, y) for axis in axes)
    entry = next((entry for entry in found if entry is not None), None)
    return None if entry is None or _changes_nothing(entry.map) else entry


def _along(axis: int, x: tuple[Array, Array], y: tuple[Array, Array]) -> Inferred | None:
    """The map whose numbers belong to the channels of one axis."""
    left, resting_x, right, resting_y = (_by_channel(array, axis) for array in (*x, *y))
    dx, dy = left - resting_x, right - resting_y
    moves_x, moves_y = _moves(dx, left), _moves(dy, right)
    if (moves_x & ~moves_y).any():
        return None
    with np.errstate(all="ignore"):
        scale = np.where(moves_x, (dx * dy).sum(1) / np.square(dy).sum(1), 0.0)
    rests = ~moves_x & ~moves_y
    scale[rests] = 1.0
    shifts = resting_x - scale[:, None] * resting_y
    shift = shifts.mean(1)
    apart = np.abs(left - scale[:, None] * right - shift[:, None]).max(1)
    steps = np.abs(shifts - shift[:, None]).max(1)
    sizes = np.maximum(np.abs(resting_x), np.abs(scale[:, None] * resting_y)).max(1)
    if (apart > _CLOSE * np.abs(left).max(1)).any() or (steps > _CLOSE * sizes).any():
        return None
    if (np.ptp(resting_y[rests], axis=1) > _CLOSE * np.abs(resting_y[rests]).max(1)).any():
        return None  # another constant at every place
    shape = [1] * x[0].ndim
    shape[axis] = len(scale)
    fixed = np.where(rests, resting_y.mean(1), np.nan)
    return Inferred(Map(scale.reshape(shape), shift.reshape(shape)), fixed.reshape(shape))


def _by_channel(array: Array, axis: int) -> Array:
    return np.moveaxis(array, axis, 0).reshape(array.shape[axis], -1)


def _moves(change: Array, values: Array) -> Array:
    return np.asarray(np.abs(change).max(1) > _CONSTANT * np.abs(values).max(1))


def _changes_nothing(entry: Map) -> bool:
    return bool(np.allclose(entry.scale, 1, rtol=0, atol=_CLOSE) and np.allclose(entry.shift, 0, rtol=0, atol=_CLOSE))
