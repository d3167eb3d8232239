"""How far zero lies from the values of a tensor, as a BatchNorm knows it without any data."""

import numpy as np

from bnfold.affine import Array
from bnfold.semantics import AffineMap


def distance(meaning: AffineMap, level: Array) -> Array | None:
    """How many deviations a level of a BatchNorm's output lies from the mean; 0 where all values are the mean.

    Both are known from its statistics, which are in units of what its input holds. So a file and its fold answer alike.

    Args:
        meaning: of the BatchNorm.
        level: one number per channel, in units of what its output holds.

    Returns:
        One number per channel; None where nothing is known of its input.
    """
    channels = None if meaning.channel_axis is None else meaning.affine.along(meaning.channel_axis)
    if meaning.statistics is None or channels is None:
        return None
    mean = channels.shift + channels.scale * meaning.statistics.mean
    deviation = np.abs(channels.scale) * meaning.statistics.deviation
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        found: Array = np.where(deviation == 0, 0.0, np.abs(level - mean) / deviation)
    return found
