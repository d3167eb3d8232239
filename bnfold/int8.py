"""How much of a weight survives rounding to int8, estimated without rounding it.

Rounding to steps of d makes an error of d * d / 12 on average (Bennett 1948, Spectra of quantized signals). The steps
are symmetric about zero, d = max |W| / 127: one for the whole tensor, or one for each output channel.

The ratio for a whole tensor says little of its small channels, since the large ones are most of the signal. So they
are counted as well: a channel that lies within half a step of zero rounds to zero, and says nothing any more (Nagel et
al. 2019, arXiv:1906.04721, section 3, on what BatchNorms do to the channels that they are folded into).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from bnfold.affine import Array
from bnfold.weight import Weight

_STEPS = 127


@dataclass(frozen=True)
class WeightRange:
    """A weight as a quantizer sees it.

    Attributes:
        channels: the largest absolute value of each output channel; of several weights, one after the other.
        vanishing: how many channels that are not zero round to zero in int8, with one step for all of their weight.
        per_tensor: estimated ratio of signal to quantisation noise in int8 with one step for all channels, in decibels;
            NaN where there is nothing to be rounded.
        per_channel: the same with a step for each output channel.
    """

    channels: tuple[float, ...] = field(repr=False)
    vanishing: int
    per_tensor: float
    per_channel: float

    @property
    def smallest(self) -> float:
        """Of the channels that are not zero, the least; 0 where there are none."""
        return min(filter(None, self.channels), default=0.0)

    @property
    def largest(self) -> float:
        """Of all channels; 0 where there are none."""
        return max(self.channels, default=0.0)

    @property
    def dead(self) -> int:
        """How many channels are zero: what they make does not depend on the input."""
        return self.channels.count(0.0)


def weight_range(weights: Sequence[Weight], sum_of_all: Weight) -> WeightRange:
    """What quantising does to weights that are quantised one by one, and whose results are added.

    Args:
        weights: at least one.
        sum_of_all: the weight that does the same alone, which is the signal; of a single weight, it is that weight.
    """
    return _judged(weights, float(sum_of_all.squares_of_rows.sum()), np.ones(1))


def weight_range_behind(before: Weight, after: Weight) -> WeightRange:
    """What quantising does to a weight that has taken a scale of its input.

    A channel that a BatchNorm scaled down holds large numbers in front of it, so its weights are small now, and their
    errors are multiplied with those large numbers. Behind the scale, all channels are taken to be alike, as BatchNorms
    make them.

    Args:
        before: the weight as it was.
        after: the same times a factor for each input.
    """
    old, new = before.squares_of_inputs, after.squares_of_inputs
    held = np.divide(old, new, out=np.zeros_like(new), where=new > 0)
    return _judged([after], float(old.sum(where=new > 0)), np.repeat(held.mean(axis=1), after.shape[1]))


def _judged(weights: Sequence[Weight], signal: float, held: Array) -> WeightRange:
    """The ranges; `held` is the mean square of what the inputs of each output channel, or of all, hold.

    `signal` is in the same units.
    """
    noise_per_tensor, noise_per_channel, vanishing = 0.0, 0.0, 0
    channels: list[float] = []
    for weight in weights:
        largest = weight.rows.largest
        channels += largest.tolist()
        noise_per_tensor += float(_noise(largest).max(initial=0.0)) * weight.size * float(held.mean())
        noise_per_channel += float((_noise(largest) * held).sum()) * (weight.size // max(1, weight.channels))
        vanishing += int(np.count_nonzero((largest > 0) & (largest < largest.max(initial=0.0) / _STEPS / 2)))
    return WeightRange(
        tuple(channels), vanishing, _decibels(signal, noise_per_tensor), _decibels(signal, noise_per_channel)
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
