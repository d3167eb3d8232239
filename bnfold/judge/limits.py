"""How far two parts may be apart on equal inputs, in the precision of their parameters.

How much a correct fold may change follows from the arithmetic: u is the distance from 1 to the next number of the type,
d the number of operators in the part.

- A place: |b - a| <= 16 u sqrt(d) max|a| + 8 n, where n is how far the original's own part moves when its parameters
  per channel (a BatchNorm's) move by one ulp. A sum of k products, rounded, is off by about u sqrt(k) / 2 of the root
  of the sum of their squares, and kernels keep 8 to 16 partial sums: 16 u covers sums of thousands of products. n
  covers what cancels: a mean that almost equals what it is taken from.
- A slope: |k| <= 4 u sqrt(d) + 2 k_n + 6 standard errors, with k_n that of the moved parameters. A BatchNorm's scale
  takes four roundings, each of half a u, in the original, and none in the folded weight beyond that of each number.

Where a limit is exceeded, the same part of the original in float64 has the last word: the new part may be as far from
that as the original itself is, times 8.
"""

import math
from collections.abc import Sequence

import numpy as np

from bnfold.judge.channels import Array, channel_axes, eps, finite, in_channels, largest, ratios, scales, slopes
from bnfold.judge.compare import non_finite_difference
from bnfold.judge.finding import LocalFinding, finding_at, nothing_found

_PLACE, _SLOPE, _MOVED, _ERRORS = 16.0, 4.0, 8.0, 6.0


class Limits:
    """How far the new part may be from the original's, channel by channel.

    Args:
        a: what the original's part makes.
        moved: what it makes with moved parameters.
        depth: how many operators it has.
    """

    def __init__(self, a: Array, moved: Sequence[Array], depth: int) -> None:
        self._a, self._moved = a, moved
        self._u = eps(a.dtype) * math.sqrt(depth)

    def compare(self, tensor: str, b: Array) -> LocalFinding:
        """The worst channel of the new part's tensor."""
        findings = [self._along(axis, tensor, b) for axis in channel_axes(b.ndim) or (None,)]
        return max(findings, key=lambda finding: finding.excess)

    def _along(self, axis: int | None, tensor: str, b: Array) -> LocalFinding:
        left, right, *moved = (finite(in_channels(values, axis)) for values in (self._a, b, *self._moved))
        noise = np.max([largest(other - left) for other in moved], axis=0)
        place = ratios(largest(right - left), _PLACE * self._u * scales(left) + _MOVED * noise)
        fit = slopes(left, right)
        own = np.max([np.abs(slopes(left, other).value) for other in moved], axis=0)
        allowed = _SLOPE * self._u + 2 * own + _ERRORS * fit.uncertainty + _attenuation(left, self._u)
        slope = np.abs(fit.value) / allowed
        by_slope = slope > place
        channel = int(np.argmax(np.maximum(slope, place))) if left.shape[0] else 0
        if not left.size:
            return nothing_found(tensor)
        what = f"is {1 + fit.value[channel]:.8g} times what it was" if by_slope[channel] else "differs"
        return finding_at(tensor, axis, channel, left, right, float(max(slope[channel], place[channel])), what)

    def vouch_for(self, truth: Array) -> bool:
        """Whether float64 is near enough to the original to be believed: it is another implementation."""
        if truth.shape != self._a.shape or non_finite_difference(self._a, truth):
            return False
        a, exact, *moved = (finite(in_channels(values, None)) for values in (self._a, truth, *self._moved))
        noise = np.max([largest(other - a) for other in moved], axis=0)
        allowed = 4 * (_PLACE * self._u * largest(a) + _MOVED * noise)
        return bool(np.all(largest(exact - a) <= allowed))


def appeal(finding: LocalFinding, a: Array, b: Array, truth: Array) -> LocalFinding:
    """Whether the new part is as near to the exact values as the original is, times 8."""
    worst, nearer = 0.0, "new"
    for axis in channel_axes(a.ndim) or (None,):
        exact, left, right = (finite(in_channels(values, axis)).astype(np.float64) for values in (truth, a, b))
        u = eps(a.dtype)
        own, other = largest(left - exact), largest(right - exact)
        own_slope, other_slope = slopes(exact, left), slopes(exact, right)
        scale = scales(exact)
        # One channel may be exact by luck: what all of them are off by counts as well.
        typical = math.sqrt(float(np.mean(ratios(own, scale) ** 2))) if scale.all() else 0.0
        place = ratios(other, 8 * np.maximum(own, typical * scale) + _SLOPE * u * scale)
        uncertainty = _ERRORS * (own_slope.uncertainty + other_slope.uncertainty)
        uncertainty += _attenuation(left, u)
        slope = np.abs(other_slope.value) / (4 * np.abs(own_slope.value) + _SLOPE * u + uncertainty)
        worst = max(worst, float(np.max(place, initial=0)), float(np.max(slope, initial=0)))
        if np.max(other, initial=0) > np.max(own, initial=0):
            nearer = "original"
    what = finding.what if worst > 1 else ""
    return LocalFinding(
        finding.tensor, worst, finding.error, finding.channel, finding.original, finding.new, what, nearer
    )


def _attenuation(a: Array, u: float) -> Array:
    """The slope that the original's own rounding makes: where a channel hardly varies, a is noise, and b - a is -a."""
    deviation = np.std(a, axis=1)
    return ratios(4 * u * largest(a), deviation) ** 2 if a.size else np.zeros(a.shape[0])
