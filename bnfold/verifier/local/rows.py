"""What two subgraphs have made, channel by channel: how far they are apart, and what a limit says of that.

`bnfold.verifier.local.law` derives the limits.
"""

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

Array: TypeAlias = npt.NDArray[Any]

WIDE = 2.0**-44
"""What float64 itself may do, in units of its arguments: the sum of a few thousand products."""
_DOUBT = 2.0
_EXPONENT = 30.0
# Of max |a|: no rounding does that.
_FAR = 0.05


@dataclass(frozen=True)
class Finding:
    """How far two subgraphs are from each other, on one set of values.

    Attributes:
        excess: in units of what is allowed; up to 1 is rounding.
        error: the largest |a - b| of the worst channel.
        scale: the largest |a| of that channel.
        channel: which; None where there are none.
        values: there, of the original and of the new subgraph.
        group: which of several.
        axis: of the channels.
    """

    excess: float
    error: float = 0.0
    scale: float = 0.0
    channel: int | None = None
    values: tuple[float, float] = (0.0, 0.0)
    group: int = 0
    axis: int = 1


@dataclass(frozen=True)
class Rows:
    """What two subgraphs made: one row for each channel of each group.

    Attributes:
        a: of the original, (rows, places), finite.
        b: of the new subgraph, likewise.
        error: b - a, infinite where only one of the two is.
        channels: how many rows a group has; 1 where there is no axis for them.
    """

    a: Array
    b: Array
    error: Array
    channels: int

    @classmethod
    def of(cls, a: Array, b: Array, channels: int, least: float) -> "Rows":
        """Of values that may be infinite or NaN, with differences of which the least say nothing."""
        with np.errstate(invalid="ignore"):
            error = b - a
        if not np.isfinite(error).all():
            error = np.nan_to_num(error, nan=0.0, posinf=np.inf, neginf=-np.inf)
            a, b = (np.nan_to_num(values, nan=0.0, posinf=0.0, neginf=0.0) for values in (a, b))
        error[np.abs(error) <= least] = 0
        return cls(a, b, error, channels)

    @cached_property
    def largest(self) -> Array:
        """The largest error of each row."""
        return np.asarray(np.abs(self.error).max(1))

    @cached_property
    def floor(self) -> Array:
        """What float64 may do to a sum of some thousand products of the size of a row's largest value."""
        return np.asarray(WIDE * np.abs(self.a).max(1))

    @property
    def far(self) -> Array:
        """Where an error is larger than any rounding of what its group holds, (rows,).

        A group may hold nothing but zeros, where the original computes some of them as differences of other numbers.
        """
        scale = np.abs(self.a).max(1).reshape(-1, self.channels).max(1)
        noise = WIDE * scale.max()
        return np.asarray(self.largest > np.maximum(_FAR * np.repeat(scale, self.channels), noise))

    def only(self, chosen: Array) -> "Rows":
        """Some of the rows, in order."""
        if len(chosen) == len(self.a):
            return self
        return Rows(self.a[chosen], self.b[chosen], self.error[chosen], self.channels)

    def excess(self, moves: Array, floor: Array) -> Array:
        """In units of twice what the moves do.

        Args:
            moves: of the new subgraph, (K, rows, places).
            floor: what any place may be off, (rows,).
        """
        peak = ratio(self.largest, _DOUBT * np.abs(moves).max((0, 2)) + floor)
        spread = ratio(_root_mean_square(self.error, 1), _DOUBT * _root_mean_square(moves, (0, 2)) + floor)
        return np.maximum(peak, spread)

    def limit_excess(self, moves: Array, floor: Array) -> Array:
        """In units of the limit; arguments as those of `excess`."""
        count, _, places = moves.shape
        # K by K for each row: its eigenvalues are those of the places' covariance.
        gram = np.einsum("krp,lrp->rkl", moves, moves) / (count * places)
        trace, frobenius = np.trace(gram, axis1=1, axis2=2), np.sqrt(np.square(gram).sum((1, 2)))
        spectral = np.linalg.eigvalsh(np.nan_to_num(gram, posinf=0.0))[:, -1]
        spread = ratio(_root_mean_square(self.error, 1), _limit(trace, frobenius, spectral, _EXPONENT) + floor)
        variance = np.square(moves).mean(0).max(1)
        single = _limit(variance, variance, variance, _EXPONENT + math.log(places))
        # A move that jumps, as a rounding to integers does, explains one jump.
        peak = ratio(self.largest, np.maximum(single, np.abs(moves).max((0, 2))) + floor)
        return np.maximum(peak, spread)

    def finding(self, excess: Array) -> Finding:
        """The worst row."""
        worst = int(excess.argmax())
        place = int(np.abs(self.error[worst]).argmax())
        return Finding(
            float(excess[worst]),
            float(abs(self.error[worst, place])),
            float(np.abs(self.a[worst]).max()),
            worst % self.channels if self.channels > 1 else None,
            (float(self.a[worst, place]), float(self.b[worst, place])),
            worst // self.channels,
        )


def _limit(trace: Array, frobenius: Array, spectral: Array, exponent: float) -> Array:
    """What |e| exceeds with a probability of exp(-exponent)."""
    return np.asarray(np.sqrt((trace + 2 * math.sqrt(exponent) * frobenius + 2 * exponent * spectral) / 2))


def in_rows(values: Array, groups: int, axis: int = 1) -> Array:
    """Channels by places, in float64, group by group; an array of less than two axes is one channel.

    The two parts of complex numbers are places of their own.
    """
    values = np.moveaxis(values, axis, 1) if axis > 1 else values
    channels = values.shape[1] if values.ndim > 1 else 1
    if values.dtype.kind == "c":
        values = np.stack([values.real, values.imag], axis=-1)
    split = values.astype(np.float64, copy=False).reshape(groups, -1, channels, math.prod(values.shape[2:]))
    return np.moveaxis(split, 2, 1).reshape(groups * channels, -1)


def _root_mean_square(values: Array, axes: int | tuple[int, ...]) -> Array:
    return np.asarray(np.sqrt(np.square(values).mean(axes)))


def ratio(part: Array, whole: Array) -> Array:
    """Part / whole, number by number; 0 / 0 is 0, and anything else / 0 is infinite."""
    return np.nan_to_num(np.where(part > 0, part / whole, 0.0), nan=0.0, posinf=np.inf)
