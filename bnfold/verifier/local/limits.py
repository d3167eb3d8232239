"""What rounding explains, in the precision of the parameters.

How much a correct fold may change follows from the arithmetic: u is the distance from 1 to the next number of the type,
times the root of the number of operators in the part.

- A place: |b - a| <= 16 u max|a| + 8 n, where n is how far the original's own part moves when its parameters per
  channel (a BatchNorm's) move by one ulp. A sum of k products, rounded, is off by about u sqrt(k) / 2 of the root of
  the sum of their squares, and kernels keep 8 to 16 partial sums: 16 u covers sums of thousands of products. n covers
  what cancels: a mean that almost equals what it is taken from.
- A slope: |k| <= 4 u + 2 k_n + 6 standard errors, with k_n that of the moved parameters. A BatchNorm's scale takes four
  roundings, each of half a u, in the original, and none in the folded weight beyond that of each number. It counts
  where the inputs are random: elsewhere places repeat each other, and so do their rounding errors.

Where a limit is exceeded, the same part of the original in float64 has the last word: the new part may be as far from
that as the original itself is, times 8 in a place and times 4 in a slope.
"""

import math

import numpy as np

from bnfold.verifier.compare.channels import Array, largest, ratios, scales, slopes
from bnfold.verifier.local.laws import Seen

_PLACE, _SLOPE, _MOVED, _ERRORS = 16.0, 4.0, 8.0, 6.0


class Places:
    """The largest difference of a channel."""

    def excess(self, seen: Seen) -> Array:
        """In units of 16 u max|a| + 8 n."""
        noise = np.max([largest(other - seen.a) for other in seen.moved], axis=0)
        return ratios(largest(seen.b - seen.a), _PLACE * seen.u * scales(seen.a) + _MOVED * noise + seen.smallest)

    def appeal(self, seen: Seen, exact: Array) -> Array:
        """In units of eight times the original's error. One channel may be exact by luck: what is usual counts too."""
        scale, own = scales(exact), largest(seen.a - exact)
        typical = math.sqrt(float(np.mean(ratios(own, scale) ** 2))) if scale.all() else 0.0
        allowed = 8 * np.maximum(own, typical * scale) + _SLOPE * seen.u * scale + seen.smallest
        return ratios(largest(seen.b - exact), allowed)

    def describe(self, _seen: Seen, _channel: int) -> str:
        """It differs."""
        return "differs"


class MovedInputs:
    """The largest difference of a channel, in a part that is a network of its own.

    Args:
        floor: what always passes, in units of the largest value.
    """

    def __init__(self, floor: float) -> None:
        self._floor = floor

    def excess(self, seen: Seen) -> Array:
        """In units of that floor, or of eight times what moved inputs do, whichever is larger."""
        noise = np.max([largest(other - seen.a) for other in seen.moved], axis=0)
        return ratios(
            largest(seen.b - seen.a), np.maximum(self._floor * scales(seen.a) + seen.smallest, _MOVED * noise)
        )

    def describe(self, _seen: Seen, _channel: int) -> str:
        """It differs."""
        return "differs"


class Slopes:
    """The systematic difference of a channel."""

    def excess(self, seen: Seen) -> Array:
        """In units of 4 u + 2 k_n + 6 standard errors."""
        fit = slopes(seen.a, seen.b)
        own = np.max([np.abs(slopes(seen.a, other).value) for other in seen.moved], axis=0)
        allowed = _SLOPE * seen.u + 2 * own + _ERRORS * fit.uncertainty + _attenuation(seen.a, seen.u)
        return np.asarray(np.abs(fit.value) / (allowed + _as_slope(seen)))

    def appeal(self, seen: Seen, exact: Array) -> Array:
        """In units of four times the original's slope, its uncertainty included."""
        own, other = slopes(exact, seen.a), slopes(exact, seen.b)
        uncertainty = _ERRORS * (own.uncertainty + other.uncertainty) + _attenuation(seen.a, seen.u)
        allowed = 4 * np.abs(own.value) + _SLOPE * seen.u + uncertainty + _as_slope(seen)
        return np.asarray(np.abs(other.value) / allowed)

    def describe(self, seen: Seen, channel: int) -> str:
        """The factor."""
        return f"is {1 + slopes(seen.a, seen.b).value[channel]:.8g} times what it was"


def _as_slope(seen: Seen) -> Array:
    """The slope of a difference that says nothing because it is too small; finite where all of a channel is zero."""
    return seen.smallest / np.maximum(largest(seen.a), seen.smallest)


def _attenuation(a: Array, u: float) -> Array:
    """The slope that the original's own rounding makes: where a channel hardly varies, a is noise, and b - a is -a."""
    return ratios(4 * u * largest(a), np.std(a, axis=1, dtype=np.float64)) ** 2
