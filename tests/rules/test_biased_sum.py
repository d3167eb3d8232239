"""Sums with a constant of their own."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bnfold.affine import Affine, per_channel
from bnfold.refusal import Reason
from bnfold.rules import pull, push
from bnfold.semantics import BiasedSum, Opaque
from tests.rules import values
from tests.rules.laws import assert_pull_one, assert_push_law, assert_refused

SHAPE = (2, 3, 4)
CURVED = Opaque(Reason.NOT_LINEAR, "com.microsoft::BiasGelu is not linear")


def case(data, sources=(0, 2), activation=None):
    bias = data.draw(values.arrays(1, 1, 4))
    inputs = {index: data.draw(values.arrays(*SHAPE)) for index in sources}
    core, bound = (np.tanh, np.ones_like) if activation else (None, None)
    return values.Case(BiasedSum(sources, bias, 2, activation), inputs, core, bound)


@given(data=st.data())
def test_what_is_behind_goes_into_the_bias_and_to_all_that_is_added(data):
    affine = data.draw(values.maps_along(3, 2, 4))
    moved = assert_pull_one(case(data), affine)
    assert set(moved.requirements) == ({0, 2} if affine.has_scale else set())


@given(data=st.data(), source=st.sampled_from([0, 2]))
def test_a_shift_in_front_goes_into_the_bias(data, source):
    shift = data.draw(values.maps_along(3, 2, 4)).shift
    moved = assert_push_law(case(data), {source: Affine(np.ones_like(shift), shift)})
    assert moved.requirements == {}


@given(data=st.data())
def test_a_scale_of_all_that_is_added_passes(data):
    scale = data.draw(values.arrays(1, 1, 4, elements=st.floats(0.1, 9.0)))
    shifts = (data.draw(values.maps_along(3, 2, 4)).shift for _ in range(2))
    assert_push_law(case(data), {index: Affine(scale, shift) for index, shift in zip((0, 2), shifts, strict=True)})


@given(data=st.data())
def test_a_shift_in_front_goes_into_the_bias_of_an_activation(data):
    one = case(data, (0,), CURVED)
    moved = push(one.node, {0: Affine(np.ones((1, 1, 1)), np.full((1, 1, 1), 0.25))})
    assert np.array_equal(moved.meaning.bias, one.node.bias + 0.25)
    assert moved.requirements == {}


def test_the_reasons():
    node, curved = (BiasedSum((0, 2), np.ones((1, 1, 4)), 2, activation) for activation in (None, CURVED))
    scale, shift = (per_channel(np.array(s), np.array(t), rank=3, axis=2) for s, t in (([2.0], [0.0]), ([1.0], [3.0])))
    rows = per_channel(np.ones(1), np.arange(3.0), rank=3, axis=1)
    said = "not all tensors that the operator adds have the same scale"
    assert_refused(push(node, {0: scale}), Reason.OTHER_BRANCH, said)
    assert_refused(push(curved, {0: scale, 2: scale}), Reason.NOT_LINEAR, CURVED.evidence)
    assert_refused(pull(curved, {0: shift}), Reason.NOT_LINEAR, CURVED.evidence)
    assert_refused(push(node, {1: shift}), Reason.NOT_LINEAR, "the operator reads the tensor as one of its parameters")
    said = "the map varies along axis 1, what is added in the operator along 2"
    assert_refused(push(node, {0: rows}), Reason.WRONG_AXIS, said)
    assert_refused(pull(node, {0: rows}), Reason.WRONG_AXIS, said)
    nothing = per_channel(np.zeros(1), np.zeros(1), rank=3)
    assert push(node, {0: nothing, 2: nothing}).reason is Reason.ZERO_SCALE


@pytest.mark.parametrize("largest", [1e308])
def test_a_bias_beyond_float64_is_refused(largest):
    node = BiasedSum((0,), np.full((1, 4), largest), 1)
    assert pull(node, {0: per_channel(np.full(1, 10.0), np.zeros(1), rank=2)}).reason is Reason.OVERFLOW
