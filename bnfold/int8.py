"""How much of a weight survives rounding to int8, estimated without rounding it.

Rounding to steps of d makes an error of d * d / 12 on average (Bennett 1948, Spectra of quantized signals). The steps
are symmetric about zero, d = max |W| / 127: one for the whole tensor, or one for each output channel.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from bnfold.affine import Array

_STEPS = 127


@dataclass(frozen=True)
class WeightRange:
    """A weight as a quantizer sees it.

    Attributes:
        smallest: of all output channels, the least of their largest absolute values; channels of zeros are left out.
        largest: the largest absolute value of all.
        per_tensor: estimated ratio of signal to quantisation noise in int8 with one step for all channels, in decibels.
        per_channel: the same with a step for each output channel.
    """

    smallest: float
    largest: float
    per_tensor: float
    per_channel: float


def weight_range(weights: Sequence[Array], sum_of_all: Array) -> WeightRange:
    """What quantising does to weights that are quantised one by one, and whose results are added.

    Args:
        weights: (groups, outputs, inputs, *kernel) each, at least one.
        sum_of_all: the weight that does the same alone, which is the signal; of a single weight, it is that weight.
    """
    signal = float(np.vdot(sum_of_all, sum_of_all))
    noise_per_tensor, noise_per_channel = 0.0, 0.0
    ranges: list[Array] = []
    for weight in weights:
        rows = weight.reshape(weight.shape[0] * weight.shape[1], -1)
        largest = np.maximum(rows.max(axis=1, initial=0.0), -rows.min(axis=1, initial=0.0))
        ranges.append(largest)
        noise_per_tensor += float(_noise(largest).max(initial=0.0)) * rows.size
        noise_per_channel += float(_noise(largest).sum()) * rows.shape[1]
    every = np.concatenate(ranges)
    smallest = float(every.min(initial=math.inf, where=every > 0))
    largest_of_all = float(every.max(initial=0.0))
    return WeightRange(
        smallest if math.isfinite(smallest) else 0.0,
        largest_of_all,
        _decibels(signal, noise_per_tensor),
        _decibels(signal, noise_per_channel),
    )


def _noise(largest: Array) -> Array:
    """The mean square error of numbers that are rounded to steps of so much / 127."""
    noise: Array = np.square(largest / _STEPS) / 12
    return noise


def _decibels(signal: float, noise: float) -> float:
    """NaN where there is nothing to be rounded, or more than float64 holds."""
    if not (signal > 0 and noise > 0 and math.isfinite(signal) and math.isfinite(noise)):
        return math.nan
    return 10 * math.log10(signal / noise)
