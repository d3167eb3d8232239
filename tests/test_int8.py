"""The estimate of what int8 does to weights agrees with rounding them."""

import math

import numpy as np
import pytest

from bnfold.int8 import weight_range


def rounded(weight, axis):
    steps = np.abs(weight).max(axis=axis, keepdims=True) / 127
    return np.round(weight / steps) * steps


def decibels(signal, noise):
    return 10 * np.log10(np.square(signal).sum() / np.square(noise).sum())


@pytest.mark.parametrize("spread", [0.0, 1.0, 2.0])
def test_the_estimate_is_what_rounding_does(spread):
    random = np.random.default_rng(0)
    scales = np.exp(random.normal(size=(1, 64, 1, 1, 1)) * spread)
    weight = random.normal(size=(1, 64, 32, 3, 3)) * scales
    found = weight_range([weight], weight)
    per_tensor = rounded(weight, axis=(0, 1, 2, 3, 4))
    per_channel = rounded(weight, axis=(2, 3, 4))
    assert found.per_tensor == pytest.approx(decibels(weight, per_tensor - weight), abs=0.5 if spread < 2 else 3)
    assert found.per_channel == pytest.approx(decibels(weight, per_channel - weight), abs=0.5)
    assert (found.smallest, found.largest) == (
        pytest.approx(np.abs(weight[0]).max(axis=(1, 2, 3)).min()),
        pytest.approx(np.abs(weight).max()),
    )


def test_the_errors_of_branches_add_up():
    random = np.random.default_rng(1)
    one, other = random.normal(size=(2, 4, 8, 8, 3, 3))
    found = weight_range([one, other], one + other)
    noise = (rounded(one, axis=(0, 1, 2, 3, 4)) - one) + (rounded(other, axis=(0, 1, 2, 3, 4)) - other)
    assert found.per_tensor == pytest.approx(decibels(one + other, noise), abs=0.5)


def test_zeros_say_nothing():
    found = weight_range([np.zeros((1, 2, 2))], np.zeros((1, 2, 2)))
    assert (found.smallest, found.largest) == (0.0, 0.0)
    assert math.isnan(found.per_tensor)
    assert math.isnan(found.per_channel)
