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
    channels = np.flatnonzero(site.right.full_bias)
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


def _wrong(site: Site, parameters, what: str) -> Wrong:
    return Wrong({site.index: parameters}, f"{what} of {site.label}")
