"""Tensors inside, channel by channel, on the samples alone."""

import numpy as np

from bnfold.verifier import VerifyOptions, check
from tests.verifier.small_models import FLOAT, model, node


def scaled(factors, shape):
    """Tensor h, one factor per place of the last axis, and an output that shows the largest of them alone."""
    nodes = [node("Mul", "x k", "h"), node("Relu", "h", "y")]
    return model(nodes, {"x": (FLOAT, shape)}, {"y": (FLOAT, shape)}, {"k": np.float32(factors)})


def test_of_three_axes_the_last_may_hold_the_channels():
    right, wrong = (scaled([1e6, 1, 1, small], [2, 5, 4]) for small in (1, 1.01))
    verdict = check(right, wrong, VerifyOptions(probe=False))
    assert all(output.passed for output in verdict.outputs)
    assert verdict.problem.startswith("tensor 'h': channel 3 differs")
    assert check(right, scaled([1e6, 1, 1, 1 + 1e-6], [2, 5, 4]), VerifyOptions(probe=False)).passed


def shifted(shift):
    nodes = [node("Add", "x c", "h"), node("Add", "h h", "y")]
    return model(nodes, {"x": (FLOAT, [1, 8])}, {"y": (FLOAT, [1, 8])}, {"c": np.float32(shift)})


def test_a_channel_of_few_places_that_is_near_zero_is_measured_by_all():
    x = np.linspace(-0.9999, 3, 8, dtype=np.float32)[None]
    options = VerifyOptions(inputs={"x": x}, rtol=1e-5)
    assert check(shifted(1), shifted(1 + 1e-6), options).passed
    assert not check(shifted(1), shifted(1 + 1e-3), options).passed
