"""Affine nodes absorb a map on either side, as far as their parameters can express it."""

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from bnfold.affine import Affine, per_channel
from bnfold.distances import distance
from bnfold.refusal import Reason
from bnfold.rules import push_past_additions
from bnfold.semantics import AffineMap, Form, Statistics
from tests.rules import values
from tests.rules.laws import assert_pull_one, assert_push_law, assert_push_one, assert_refused, pull_one, push_one

BOTH_LAWS = pytest.mark.parametrize("assert_law", [assert_pull_one, assert_push_one], ids=["pull", "push"])
BOTH_MOVES = pytest.mark.parametrize("move", [pull_one, push_one], ids=["pull", "push"])
NO_SHIFT = "a multiplication has no parameter that could take the shift"


@BOTH_LAWS
@given(data=st.data(), case=values.batch_norms())
def test_batch_norm(assert_law, data, case):
    affine = data.draw(values.maps_along(case.x.ndim, 1, case.x.shape[1]))
    moved = assert_law(case, affine)
    assert moved.requirements == {}
    assert (moved.meaning.form, moved.meaning.channel_axis) == (Form.SCALE_AND_SHIFT, 1)
    assert moved.meaning.affine.along(1).fits(case.x.shape[1])


def knowing(scale, shift, mean, variance, epsilon=1e-5):
    """A BatchNorm that knows its input."""
    affine = per_channel(np.asarray(scale), np.asarray(shift), rank=4)
    statistics = Statistics(np.asarray(mean), np.asarray(variance), epsilon)
    return AffineMap(affine, Form.SCALE_AND_SHIFT, channel_axis=1, statistics=statistics)


@given(data=st.data())
def test_what_a_batch_norm_knows_of_its_input_moves_with_it(data):
    """x = s * x' + t: the means answer each other, and zero is as far from what the norm makes as it was."""
    numbers, sizes = st.floats(-9, 9), st.floats(0.01, 9) | st.floats(-9, -0.01)
    shift, mean, t = (data.draw(values.arrays(3, elements=numbers)) for _ in range(3))
    scale, s = (data.draw(values.arrays(3, elements=elements)) for elements in (sizes | st.just(0.0), sizes))
    node = knowing(scale, shift, mean, data.draw(values.arrays(3, elements=st.floats(0.1, 9))))
    after = push_one(node, per_channel(s, t, rank=4)).meaning
    np.testing.assert_allclose(s * after.statistics.mean + t, mean, atol=1e-9)
    levels = np.array([0.0, 2.0, -3.0])
    np.testing.assert_allclose(distance(after, levels), distance(node, levels), rtol=1e-6, atol=1e-6)


def test_a_zero_beyond_all_numbers_is_infinitely_far():
    assert distance(knowing([2e-309], [0.0], [0.0], [1.0]), np.full(1, 2.0)) == np.inf


def test_of_a_channel_that_a_map_makes_constant_a_batch_norm_knows_what_it_knew():
    after = push_one(knowing([1.0], [0.0], [2.0], [3.0]), per_channel(np.zeros(1), np.ones(1), rank=4)).meaning
    assert after.statistics.variance == 3.0
    assert distance(after, np.zeros(1)) == 0.0, "all that it makes is the mean"


def test_a_variance_below_zero_becomes_none():
    """epsilon is most of what such a norm divides by, and cannot be scaled."""
    after = push_one(knowing([1.0], [0.0], [2.0], [1e-9]), per_channel(np.full(1, 100.0), np.zeros(1), rank=4)).meaning
    assert after.statistics.variance == 0.0


@BOTH_MOVES
@given(data=st.data(), case=values.batch_norms())
def test_batch_norm_refuses_another_axis(move, data, case):
    axis = data.draw(st.sampled_from([axis for axis in range(case.x.ndim) if axis != 1]))
    affine = per_channel(np.array([1.0, 2.0]), 0.0, rank=case.x.ndim, axis=axis)
    expected = f"the map varies along axis {axis}, the BatchNorm's parameters along axis 1"
    assert_refused(move(case.node, affine), Reason.WRONG_AXIS, expected)


@BOTH_MOVES
def test_batch_norm_refuses_another_number_of_channels(move):
    node = AffineMap(per_channel(np.ones(3), np.ones(3), rank=4), Form.SCALE_AND_SHIFT, channel_axis=1)
    affine = per_channel(np.arange(4.0), 0.0, rank=4)
    assert_refused(move(node, affine), Reason.MALFORMED, "the map has 4 channels, the node 3")


@BOTH_LAWS
@given(data=st.data(), case=values.multiplications())
def test_multiplication(assert_law, data, case):
    affine = data.draw(values.maps_of(case.x.shape)).scale_alone()
    moved = assert_law(case, affine)
    assert moved.requirements == {}
    assert (moved.meaning.form, moved.meaning.source) == (Form.SCALE, case.node.source)
    assert not moved.meaning.affine.has_shift


@BOTH_MOVES
@given(data=st.data(), case=values.multiplications())
def test_multiplication_refuses_a_shift(move, data, case):
    affine = data.draw(values.maps_of(case.x.shape))
    assume(affine.has_shift)
    assert_refused(move(case.node, affine), Reason.SHIFT_CANNOT_PASS, NO_SHIFT)


@given(data=st.data(), case=values.additions())
def test_addition_keeps_the_shift_and_hands_on_the_scale(data, case):
    affine = data.draw(values.maps_of(case.x.shape))
    moved = assert_pull_one(case, affine)
    assert (moved.meaning.form, moved.meaning.source) == (Form.SHIFT, case.node.source)
    assert np.all(moved.meaning.affine.scale == case.node.affine.scale), "an addition cannot change its scale"
    assert set(moved.requirements) == ({case.node.source} if affine.has_scale else set())
    assert not any(requirement.has_shift for requirement in moved.requirements.values())


@given(data=st.data(), case=values.additions())
def test_addition_takes_a_shift_in_front(data, case):
    shift = data.draw(values.parts_of(case.x.shape))
    moved = assert_push_one(case, Affine(np.ones_like(shift), shift))
    assert moved.requirements == {}
    assert moved.meaning.form is Form.SHIFT
    assert np.all(moved.meaning.affine.scale == case.node.affine.scale), "an addition cannot change its scale"


@given(data=st.data(), case=values.additions())
def test_addition_refuses_a_scale_in_front(data, case):
    affine = data.draw(values.maps_of(case.x.shape))
    assume(affine.has_scale)
    expected = "an addition has no parameter that could take the scale"
    assert_refused(push_one(case.node, affine), Reason.NOT_LINEAR, expected)


@given(data=st.data(), case=values.additions())
def test_a_scale_in_front_of_an_addition_may_act_behind_it(data, case):
    affine = data.draw(values.maps(case.x.shape))
    scale = np.where(np.abs(affine.scale) < 1e-6, 0.5, affine.scale)
    affine = Affine(scale, affine.shift)
    assume(affine.has_scale)
    assume(np.abs(scale).max() < 1e6)
    moved = assert_push_law(case, {case.node.source: affine}, push_past_additions)
    assert moved.requirements[0].equals(affine.scale_alone())
    assert np.all(moved.meaning.affine.scale == case.node.affine.scale), "an addition cannot change its scale"


def test_a_scale_of_0_in_front_of_an_addition_stays():
    node = AffineMap(Affine(np.ones((1, 1)), np.array([[1.0, 2.0]])), Form.SHIFT)
    scale = Affine(np.array([[0.0, 2.0]]), np.zeros((1, 1)))
    assert push_past_additions(node, {0: scale}).reason is Reason.ZERO_SCALE
    tiny = Affine(np.array([[1e-300, 2.0]]), np.zeros((1, 1)))
    far = AffineMap(Affine(np.ones((1, 1)), np.full((1, 2), 1e200)), Form.SHIFT)
    assert push_past_additions(far, {0: tiny}).reason is Reason.OVERFLOW
