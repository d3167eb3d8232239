"""The scales of an affine map, channel by channel, in a few numbers: what a person wants to know of a BatchNorm."""

from dataclasses import dataclass

import numpy as np

from bnfold.affine import Affine, Array

FAR = 100.0
"""A scale is tiny, or huge, that is so many times smaller, or larger, than the median of its map."""


@dataclass(frozen=True)
class ScaleSummary:
    """The scales of one map; sizes are absolute values of those that are not 0.

    Attributes:
        channels: how many there are.
        negative: how many are below 0.
        zero: how many are 0: these channels are constants.
        tiny: how many are more than `FAR` times smaller than the median.
        huge: how many are more than `FAR` times larger than the median.
        smallest, lower_quartile, median, upper_quartile, largest: of the sizes; 0 where all scales are 0.
        largest_shift: the largest absolute value of the shifts.
    """

    channels: int
    negative: int
    zero: int
    tiny: int
    huge: int
    smallest: float
    lower_quartile: float
    median: float
    upper_quartile: float
    largest: float
    largest_shift: float


def summarise(affine: Affine) -> ScaleSummary:
    """The scales of a map in a few numbers."""
    scales = affine.scale.reshape(-1)
    sizes = np.sort(np.abs(scales[scales != 0]))
    median = _at(sizes, 2)
    return ScaleSummary(
        channels=scales.size,
        negative=int(np.count_nonzero(scales < 0)),
        zero=scales.size - sizes.size,
        tiny=int(np.count_nonzero(sizes < median / FAR)),
        huge=int(np.count_nonzero(sizes > median * FAR)),
        smallest=_at(sizes, 0),
        lower_quartile=_at(sizes, 1),
        median=median,
        upper_quartile=_at(sizes, 3),
        largest=_at(sizes, 4),
        largest_shift=float(np.abs(affine.shift).max(initial=0.0)),
    )


def _at(ascending: Array, quarters: int) -> float:
    """The value so many quarters of the way through; one of those that are there, never a mean of two."""
    return float(ascending[(ascending.size - 1) * quarters // 4]) if ascending.size else 0.0
