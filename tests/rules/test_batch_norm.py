"""A BatchNorm in inference, read as an affine map."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bnfold.affine import Affine
from bnfold.refusal import Reason
from bnfold.rules.affine_map import read_batch_norm_as_affine
from tests.rules import values
from tests.rules.evaluate import apply
from tests.rules.laws import assert_refused, assert_same

PARAMETERS = ("scale", "bias", "mean", "variance")


@given(data=st.data(), channels=values.LENGTHS, rank=st.integers(2, 5))
def test_law(data, channels, rank):
    gamma, beta, mean = (data.draw(values.arrays(channels)) for _ in range(3))
    variance = data.draw(values.arrays(channels, elements=st.floats(0.0, 1e25)))
    epsilon = data.draw(st.sampled_from([1e-8, 1e-5, 1e-3]))
    x = data.draw(values.tensors(rank, channels, 1))
    affine = read_batch_norm_as_affine(gamma, beta, mean, variance, epsilon, rank=rank)
    assert isinstance(affine, Affine)
    assert affine.rank == rank
    column = (channels, *(1,) * (rank - 2))
    gamma, beta, mean, variance = (vector.reshape(column) for vector in (gamma, beta, mean, variance))
    deviation = np.sqrt(variance + epsilon)
    expected = gamma * ((x - mean) / deviation) + beta
    bound = np.abs(gamma) * ((np.abs(x) + np.abs(mean)) / deviation) + np.abs(beta)
    assert_same(expected, apply(affine, x), bound)


@pytest.mark.parametrize("name", PARAMETERS)
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_not_finite(name, bad):
    parameters = {key: np.ones(3) for key in PARAMETERS}
    parameters[name][1] = bad
    answer = read_batch_norm_as_affine(*parameters.values(), 1e-5, rank=4)
    assert_refused(answer, Reason.NOT_FINITE, f"{name} is {bad} in channel 1")


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_epsilon_not_finite(bad):
    answer = read_batch_norm_as_affine(*(np.ones(3) for _ in PARAMETERS), bad, rank=4)
    assert answer.reason is Reason.NOT_FINITE
    assert f"epsilon is {bad}" in answer.evidence


@pytest.mark.parametrize(
    ("variance", "epsilon", "evidence"),
    [
        ([1.0, 0.0, 2.0], 0.0, "variance + epsilon <= 0 in 1 of 3 channels (min 0, channel 1)"),
        ([1.0, -0.5, -0.25], 0.25, "variance + epsilon <= 0 in 2 of 3 channels (min -0.25, channel 1)"),
        ([0.0, 1.0, -1.0], 0.5, "variance + epsilon <= 0 in 1 of 3 channels (min -0.5, channel 2)"),
    ],
)
def test_non_positive_variance(variance, epsilon, evidence):
    answer = read_batch_norm_as_affine(*(np.ones(3) for _ in range(3)), np.array(variance), epsilon, rank=2)
    assert_refused(answer, Reason.NON_POSITIVE_VARIANCE, evidence)


def test_a_negative_variance_that_epsilon_makes_positive_is_legal():
    affine = read_batch_norm_as_affine(np.ones(1), np.zeros(1), np.zeros(1), np.array([-0.5]), 0.75, rank=2)
    assert affine.scale.item() == 2.0
