"""Whether half-precision parameters were rounded once.

They are not exact enough for the limits of float32. What is judged is their rounding: both parts compute in float32, so
that nothing but the stored numbers differs, and the new part is compared with itself with every changed parameter moved
up or down by half a unit of its last place: the most that rounding once does. A place may be off by three times as
much, and a slope by three times what is typical of all channels. All slopes together are to be like those of roundings
that fall anywhere within that half unit, which are smaller by the root of 3: a scale that was itself rounded moves a
whole channel, which single roundings of its weights do not.
"""

import math

import numpy as np

from bnfold.judge.channels import Array, channel_axes, eps, finite, in_channels, largest, ratios, scales, slopes
from bnfold.judge.finding import LocalFinding, finding_at, nothing_found

_PLACE, _TYPICAL, _ERRORS = 16.0, 3.0, 6.0
_ROUNDED_TWICE = 1.6 / math.sqrt(3)


def compare_rounding(tensor: str, exact: Array, rounded: Array, again: Array) -> LocalFinding:
    """Whether the new parameters were rounded once: their difference is like that of another rounding of themselves."""
    findings = []
    for axis in channel_axes(exact.ndim) or (None,):
        a, b, c = (finite(in_channels(values, axis)) for values in (exact, rounded, again))
        if not a.size:
            continue
        u = eps(np.dtype(np.float32))
        scale, error, usual = scales(a), largest(b - a), largest(c - b)
        place = ratios(error, _TYPICAL * usual + _PLACE * u * scale)
        fit, own = slopes(a, b), slopes(b, c)
        typical = math.sqrt(float(np.mean(own.value**2)))
        slope = np.abs(fit.value) / (_TYPICAL * max(typical, u) + 2 * np.abs(own.value) + _ERRORS * fit.uncertainty)
        collective = _collective(b, c, fit.value, own.value)
        excess = np.maximum(np.maximum(place, slope), collective)
        channel = int(np.argmax(excess))
        what = "is rounded more than once" if excess[channel] == collective else "differs"
        findings.append(finding_at(tensor, axis, channel, a, b, float(excess[channel]), what))
    return max(findings, key=lambda finding: finding.excess, default=nothing_found(tensor))


def _collective(b: Array, c: Array, slope: Array, usual_slope: Array) -> float:
    """How much larger all channels' slopes are together than those of a single rounding; 0 where too few tell."""
    alive = largest(c - b) > 0
    if np.count_nonzero(alive) < 8:
        return 0.0
    ours = math.sqrt(float(np.mean(slope[alive] ** 2)))
    usual = math.sqrt(float(np.mean(usual_slope[alive] ** 2)))
    few = 1.5 / math.sqrt(np.count_nonzero(alive))
    floor = 8 * eps(np.dtype(np.float32))
    return ours / ((usual + floor) * (_ROUNDED_TWICE + few)) if usual > 0 else 0.0
