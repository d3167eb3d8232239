"""The estimate of what int8 does to weights agrees with rounding them, and folds carry it."""

import math

import numpy as np
import pytest

import bnfold
from bnfold.int8 import weight_range, weight_range_behind
from bnfold.weight import Weight
from tests.networks import Network


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
    found = weight_range([Weight(weight)], Weight(weight))
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
    found = weight_range([Weight(one), Weight(other)], Weight(one + other))
    noise = (rounded(one, axis=(0, 1, 2, 3, 4)) - one) + (rounded(other, axis=(0, 1, 2, 3, 4)) - other)
    assert found.per_tensor == pytest.approx(decibels(one + other, noise), abs=0.5)


def test_channels_that_round_to_zero_are_counted():
    random = np.random.default_rng(2)
    sizes = np.array([1.0, 0.5, 1e-2, 3.9e-3, 1e-3, 0.0]).reshape(1, 6, 1)
    weight = np.sign(random.normal(size=(1, 6, 20))) * random.uniform(0.9, 1.0, size=(1, 6, 20)) * sizes
    weight[..., 0] = sizes[..., 0]
    found = weight_range([Weight(weight)], Weight(weight))
    left = np.any(rounded(weight, axis=(0, 1, 2)), axis=(0, 2))
    assert left.tolist() == [True, True, True, False, False, False]
    assert (found.dead, found.vanishing) == (1, 2)
    assert found.channels == tuple(sizes.ravel())
    assert (found.smallest, found.largest) == (1e-3, 1.0)


@pytest.mark.parametrize("groups", [1, 2])
def test_small_inputs_of_a_weight_that_lost_their_scale_are_told(groups):
    """What the estimate says is what a product with numbers of these sizes shows."""
    random = np.random.default_rng(3)
    before = random.normal(size=(groups, 6, 32, 3))
    scale = 10.0 ** random.uniform(-2, 0, size=(groups, 1, 32, 1))
    after = before * scale
    found = weight_range_behind(Weight(before), Weight(after))
    x = random.normal(size=(2000, groups, 32, 3))
    for ratio, axes in ((found.per_tensor, (0, 1, 2, 3)), (found.per_channel, (2, 3))):
        error = (rounded(after, axis=axes) - after) / scale
        made, wrong = (np.einsum("goik,ngik->ngo", kernel, x) for kernel in (before, error))
        assert ratio == pytest.approx(decibels(made, wrong), abs=1.5)
    assert found.per_channel < weight_range([Weight(after)], Weight(after)).per_channel - 3


def test_of_branches_each_has_a_step_of_its_own():
    small, large = np.full((1, 2, 3), 1e-3), np.full((1, 2, 3), 1.0)
    assert weight_range([Weight(small), Weight(large)], Weight(small + large)).vanishing == 0


def test_zeros_say_nothing():
    found = weight_range([Weight(np.zeros((1, 2, 2)))], Weight(np.zeros((1, 2, 2))))
    assert (found.smallest, found.largest, found.dead, found.vanishing) == (0.0, 0.0, 2, 0)
    assert math.isnan(found.per_tensor)
    assert math.isnan(found.per_channel)


SPREAD = [1e-3, 1e-3, 1.0, -1.0]


def conv_and_norm(*, norm_first=False, stored_as_integers=False):
    network = Network()
    weight = network.weight("w", 4, 4, 1, 1)
    if stored_as_integers:
        network.initializers["q"] = network.random.integers(-127, 128, size=(4, 4, 1, 1)).astype(np.int8)
        weight = network.node("DequantizeLinear", ["q", network.constant("s", 0.01)], "wf")
    if norm_first:
        network.batch_norm("x", "n", 4)
        network.node("Conv", ["n", weight, network.weight("b", 4)], "y")
    else:
        network.node("Conv", ["x", weight, network.weight("b", 4)], "c")
        network.batch_norm("c", "y", 4)
    name = "n" if norm_first else "y"
    network.constant(f"{name}.scale", SPREAD)
    network.constant(f"{name}.var", [1.0] * 4)
    return network.model({"x": ("N", 4, 3, 3)}, ["y"])


def only_quantization(model, **options):
    report = bnfold.explain(model, **options)
    (fold,) = report.outcome.folds
    return fold.quantization


def test_a_fold_upstream_spreads_channels():
    found = only_quantization(conv_and_norm())
    assert found.weight == "c_node"
    ratios = np.array(found.after.channels) / np.array(found.before.channels)
    assert ratios == pytest.approx(np.abs(SPREAD), rel=1e-4)
    assert (found.before.vanishing, found.after.vanishing) == (0, 2)
    assert found.after.per_channel == pytest.approx(found.before.per_channel, abs=3)


def test_a_fold_downstream_spreads_numbers_within_channels():
    found = only_quantization(conv_and_norm(norm_first=True))
    assert found.after.vanishing == 0
    assert found.before.per_channel - found.after.per_channel > 1


def test_weights_that_are_integers_are_not_judged_again():
    assert only_quantization(conv_and_norm(stored_as_integers=True)) is None
