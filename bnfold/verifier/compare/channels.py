"""Two tensors channel by channel: how far they are apart, in units of what each channel's own values are."""

import math
from dataclasses import dataclass
from typing import Any

import ml_dtypes
import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]

_NARROW = (np.dtype(np.float16), np.dtype(ml_dtypes.bfloat16))
# Fewer places say nothing about a slope.
_FEWEST_PLACES = 8


def channel_axes(rank: int) -> tuple[int, ...]:
    """Where the channels can be: axis 1, and the last axis of rank 3, where both orders are common."""
    return () if rank < 2 else (1,) if rank != 3 else (1, 2)


def in_channels(tensor: Array, axis: int | None) -> Array:
    """A tensor as (channels, places), in at least float32; axis None takes it for one channel."""
    wide = tensor.astype(np.float32) if tensor.dtype in _NARROW else tensor
    if axis is None:
        return wide.reshape(1, -1)
    return np.moveaxis(wide, axis, 0).reshape(wide.shape[axis], -1)


@dataclass(frozen=True)
class Extent:
    """The largest values of two tensors, channel by channel.

    Attributes:
        axis: of the channels; None where the whole tensor is one.
        scale: of `scales`, (C,).
        error: max |b - a| where a is finite, (C,).
        finite: whether all of a, b and b - a is.
    """

    axis: int | None
    scale: Array
    error: Array
    finite: bool


def extents(a: Array, b: Array) -> list[Extent]:
    """One Extent for each axis that may hold the channels of two floating-point tensors of one shape and dtype."""
    return [extent_along(axis, a, b) for axis in channel_axes(a.ndim) or (None,)]


def extent_along(axis: int | None, a: Array, b: Array) -> Extent:
    """How far two tensors are apart in each channel along an axis."""
    a, b = in_channels(a, axis), in_channels(b, axis)
    with np.errstate(invalid="ignore", over="ignore"):
        difference = b - a
    error = largest(difference)
    finite = bool(np.isfinite(error).all())
    if not finite:
        numbers = np.isfinite(a)
        error, a = largest(np.where(numbers, difference, 0)), np.where(numbers, a, 0)
    return Extent(axis, scales(a), error, finite)


def eps(dtype: "np.dtype[Any]") -> float:
    """From 1 to the next number of a floating-point type."""
    one, two = np.ones((), dtype), np.full((), 2, dtype)
    return float(np.nextafter(one, two)) - 1


def smallest(dtype: "np.dtype[Any]") -> float:
    """Differences below this say nothing.

    The smallest normal number: below it, floating point loses a bit with every power of two. But nobody means numbers
    of 1e-38, and those of float16 are still numbers below 6e-5: there, one step.
    """
    kind = ml_dtypes.finfo(dtype)
    return float(kind.smallest_subnormal if dtype == np.float16 else kind.smallest_normal)


def largest(values: Array) -> Array:
    """The largest magnitude of each channel, in float64, of values as (channels, places)."""
    # Not of np.abs: memory for one more tensor takes longer than a second look.
    ends = np.max(values, axis=1, initial=0), np.min(values, axis=1, initial=0)
    return np.asarray(np.maximum(ends[0], -ends[1]), np.float64)


def scales(values: Array) -> Array:
    """What the errors of each channel are measured by: its largest magnitude.

    A channel of few places may be near zero in all of them by chance. There the root mean square of all channels
    counts, where it is larger.
    """
    own = largest(values)
    if values.shape[1] >= _FEWEST_PLACES or not values.size:
        return own
    return np.maximum(own, math.sqrt(float(np.mean(np.square(values, dtype=np.float64)))))


def ratios(error: Array, allowed: Array) -> Array:
    """Error / allowed in float64; 0 / 0 is 0, and anything else / 0 is infinite."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(np.where(error > 0, np.asarray(error, np.float64) / allowed, 0.0), np.float64)
