"""Faults in what was written: made of the folded parameters alone."""

from dataclasses import replace

import numpy as np

from tests.faults.edits import NotHere, Wrong
from tests.faults.sites import Site


def weight_by_one_percent(site: Site, random: np.random.Generator) -> Wrong | NotHere:
    """One channel's weight is 1 % too large."""
    return _channel_times(site, random, 1.01, "weight * 1.01")


def bias_by_one_percent(site: Site, random: np.random.Generator) -> Wrong | NotHere:
    """One channel's bias is 1 % too large."""
    channels = _large(site.right.full_bias)
    if not channels.size:
        return NotHere("no bias")
    channel = int(random.choice(channels))
    bias = site.right.full_bias.copy()
    bias[channel] *= 1.01
    return _wrong(site, replace(site.right, bias=bias), f"bias * 1.01 in output channel {channel}")


def channels_swapped(site: Site, random: np.random.Generator) -> Wrong | NotHere:
    """Two channels have changed places."""
    if site.channels < 2:
        return NotHere("one channel only")
    one, other = (int(channel) for channel in random.choice(site.channels, size=2, replace=False))
    order = np.arange(site.channels)
    order[[one, other]] = other, one
    right = site.right
    if site.side == "output":
        weight = right.weight.reshape(right.outputs, *right.weight.shape[2:])[order].reshape(right.weight.shape)
        wrong = replace(right, weight=weight, bias=None if right.bias is None else right.bias[order])
    elif right.groups == 1:
        wrong = replace(right, weight=right.weight[:, :, order])
    else:
        inputs_first = right.weight.swapaxes(1, 2)
        swapped = inputs_first.reshape(right.inputs, *inputs_first.shape[2:])[order].reshape(inputs_first.shape)
        wrong = replace(right, weight=swapped.swapaxes(1, 2))
    return _wrong(site, wrong, f"{site.side} channels {one} and {other} swapped")


def sign_flipped(site: Site, random: np.random.Generator) -> Wrong | NotHere:
    """One channel's weight has the other sign."""
    return _channel_times(site, random, -1.0, "weight * -1")


def bias_dropped(site: Site, _random: np.random.Generator) -> Wrong | NotHere:
    """The folded bias is missing."""
    if not np.any(site.right.full_bias):
        return NotHere("no bias")
    return _wrong(site, replace(site.right, bias=None), "bias dropped")


def biases_exchanged(site: Site, random: np.random.Generator) -> Wrong | NotHere:
    """Two channels have each other's bias, and their own weights."""
    bias = site.right.full_bias.copy()
    if len(np.unique(bias)) < 2:
        return NotHere("no two biases that differ")
    one = int(random.integers(len(bias)))
    other = int(random.choice(np.flatnonzero(bias != bias[one])))
    bias[[one, other]] = bias[[other, one]]
    return _wrong(site, replace(site.right, bias=bias), f"biases of output channels {one} and {other} exchanged")


def one_tap_off(site: Site, random: np.random.Generator) -> Wrong | NotHere:
    """A single number of the weight is larger by a ten thousandth."""
    weight = site.right.weight.copy()
    numbers = _large(weight)
    if not numbers.size:
        return NotHere("every weight is 0")
    place = int(random.choice(numbers))
    weight.reshape(-1)[place] *= 1.0001
    return _wrong(site, replace(site.right, weight=weight), f"weight * 1.0001 in number {place}")


def _channel_times(site: Site, random: np.random.Generator, factor: float, what: str) -> Wrong | NotHere:
    right = site.right
    others = tuple(range(2, right.weight.ndim)) if site.side == "output" else (1, *range(3, right.weight.ndim))
    channels = np.flatnonzero(np.any(right.weight, axis=others).reshape(-1))
    if not channels.size:
        return NotHere("every weight is 0")
    channel = int(random.choice(channels))
    factors = np.ones(site.channels)
    factors[channel] = factor
    spread = right.per_output(factors) if site.side == "output" else right.per_input(factors)
    return _wrong(site, replace(right, weight=right.weight * spread), f"{what} in {site.side} channel {channel}")


def _large(values: np.ndarray) -> np.ndarray:
    """Places of numbers that others do not drown: of a smaller one, a part is less than the last bit of a sum."""
    size = np.abs(values).reshape(-1)
    return np.flatnonzero(size > 0.02 * size.max(initial=0))


def _wrong(site: Site, parameters, what: str) -> Wrong:
    return Wrong({site.index: parameters}, f"{what} of {site.label}")
