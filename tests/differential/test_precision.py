"""Folding across a stream is compared with plain folding, both against float64: what is worse is found."""

import numpy as np
import pytest

from bnfold.crossing import FARTHEST_ZERO, LARGEST_FACTOR
from tests.differential.compare import feeds_of, run_original
from tests.differential.precision import Errors, errors
from tests.differential.streams import examine_stream, generate
from tests.networks import Network

CHANNELS = 16


def pre_activation(distance: float, dtype: str, scale: float | None = None):
    """x + conv(relu(bn(x))), with the zero of the BatchNorm so many deviations from its mean."""
    network = Network()
    _conv(network, "x", "stem", dtype)
    gamma = 1 / distance if scale is None else scale
    values = {"scale": gamma, "bias": gamma * distance, "mean": 0.0, "var": 1.0}
    names = [network.constant(f"n.{key}", np.full(CHANNELS, value), dtype) for key, value in values.items()]
    network.node("BatchNormalization", ["stem", *names], "n")
    _conv(network, network.node("Relu", ["n"], "r"), "c", dtype)
    _conv(network, network.node("Add", ["stem", "c"], "s"), "y", dtype)
    return network.model({"x": [2, CHANNELS, 8, 8]}, ["y"], dtype=dtype)


def _conv(network: Network, source: str, output: str, dtype: str) -> None:
    weight = network.random.normal(size=(CHANNELS, CHANNELS, 1, 1)) / 12
    names = [network.constant(f"{output}.w", weight, dtype), network.constant(f"{output}.b", np.zeros(CHANNELS), dtype)]
    network.node("Conv", [source, *names], output)


@pytest.mark.parametrize(("dtype", "bits", "distance"), [("float32", 24, 1000.0), ("float16", 11, 32.0)])
def test_a_zero_that_lies_far_away_is_worse_and_is_refused_for_that(dtype, bits, distance, monkeypatch):
    model = pre_activation(distance, dtype)
    kept = examine_stream(model)
    assert (kept.kind, [entry.is_batch_norm for entry in kept.outcome.kept]) == ("", [True])
    monkeypatch.setitem(FARTHEST_ZERO, bits, np.inf)
    monkeypatch.setitem(LARGEST_FACTOR, bits, np.inf)
    planted = examine_stream(model)
    assert planted.kind == "worse"
    assert "units in the last place" in planted.evidence


@pytest.mark.parametrize(("dtype", "distance"), [("float32", 64.0), ("float32", 1.0), ("float16", 1.0)])
def test_what_folds_across_is_not_worse_up_to_the_limit(dtype, distance):
    found = examine_stream(pre_activation(distance, dtype))
    assert found.outcome is not None
    assert [entry.direction for entry in found.outcome.folds] == ["across"]
    assert (found.kind, found.judged) == ("", 1)


def test_the_largest_error_met_so_far_is_within_what_its_zero_costs():
    """44 deviations from the mean: nine times the error of plain folding."""
    found = examine_stream(generate(2_200_254), 2_200_254)
    assert (found.kind, found.judged) == ("", 2)


@pytest.mark.parametrize("lost", [np.nan, np.inf])
def test_what_is_no_number_any_more_is_worse(lost):
    assert Errors("y", "float16", original=0.1, plain=0.1, across=lost, unit=1.0).is_worse


def test_an_error_below_the_last_place_is_none():
    assert not Errors("y", "float32", original=0.0, plain=0.0, across=1.0, unit=1.0).is_worse
    assert Errors("y", "float32", original=0.0, plain=0.0, across=18.1, unit=1.0).is_worse
    assert not Errors("y", "float32", original=1.0, plain=3.0, across=18.1, unit=1.0).is_worse


def test_float16_is_run_as_devices_store_it():
    """onnxruntime's CPU provider would keep the sum in float32, and lose nothing."""
    network = Network()
    large = network.constant("large", np.full(CHANNELS, 1024.0), "float16")
    stored = network.node("Mul", [network.node("Add", ["x", large], "s"), network.constant("one", 1.0, "float16")], "m")
    network.node("Sub", [stored, large], "y")
    model = network.model({"x": [2, CHANNELS]}, ["y"], dtype="float16")
    feeds = feeds_of(model, 0)
    (found,) = errors(model, model, model, feeds, run_original(model, feeds))
    assert found.original == found.plain == found.across > 0.1  # a last place is 0.5 to 1 there
