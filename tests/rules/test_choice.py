"""Numbers of one of two tensors, of which one may be a constant."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bnfold.affine import Affine, per_channel
from bnfold.refusal import Reason
from bnfold.rules import pull, push
from bnfold.semantics import Choice, Operand
from tests.rules import values
from tests.rules.laws import assert_pull_law, assert_push_law, assert_refused

SHAPE = (2, 3, 4)
WHOLE = Operand(SHAPE, 3)
PARTS = st.sampled_from([(1, 1, 1), (1, 3, 1), (2, 1, 4), SHAPE])


@st.composite
def choices(draw, fixed, constants):
    """Of tensors of the shape of the result, of which the second may be a constant, under a mask of any shape."""
    mask = draw(values.arrays(*draw(PARTS), elements=st.sampled_from([0.0, 1.0]))) != 0
    tensors = {1: draw(values.arrays(*SHAPE))}
    held = {2: draw(values.arrays(*draw(PARTS)))} if constants else {}
    tensors |= {} if constants else {2: draw(values.arrays(*SHAPE))}
    node = Choice(3, dict.fromkeys(tensors, WHOLE), held, mask if fixed else None)
    return values.Case(node, tensors, lambda: mask)


@given(data=st.data(), case=choices(fixed=False, constants=False))
def test_what_is_behind_goes_to_both(data, case):
    moved = assert_pull_law(case, {0: data.draw(values.maps_along(3, 1, 3))})
    assert set(moved.requirements) == {1, 2}


@given(data=st.data(), case=choices(fixed=False, constants=True))
def test_a_constant_takes_what_is_behind_where_it_need_not_grow(data, case):
    affine = data.draw(values.maps_along(3, 1, 3))
    (held,) = case.node.constants.values()
    made = np.broadcast_shapes(held.shape, affine.scale.shape, affine.shift.shape)
    if np.prod(made) > max(held.size, affine.scale.size, affine.shift.size):
        assert pull(case.node, {0: affine}).reason is Reason.PARAMETER_GROWS
    else:
        assert set(assert_pull_law(case, {0: affine}).requirements) == {1}


@given(data=st.data(), case=choices(fixed=False, constants=False))
def test_maps_in_front_pass_where_they_are_the_same(data, case):
    affine = data.draw(values.maps_along(3, 1, 3))
    moved = assert_push_law(case, {1: affine, 2: affine})
    assert moved.requirements[0].equals(affine)


@given(data=st.data(), case=choices(fixed=True, constants=False))
def test_under_a_fixed_mask_each_place_has_its_own_map(data, case):
    maps = {index: data.draw(values.maps_along(3, 1, 3)) for index in data.draw(st.sampled_from([(1,), (2,), (1, 2)]))}
    assert_push_law(case, maps)


@given(data=st.data(), scale=values.arrays(1, 3, 1, elements=st.floats(0.1, 9.0)), case=choices(True, True))
def test_a_constant_takes_the_inverse_of_what_is_in_front(data, scale, case):
    shift = data.draw(values.arrays(1, 3, 1, elements=st.floats(-9.0, 9.0)))
    small = Choice(3, case.node.operands, {2: np.full((1, 1, 1), 0.5)}, case.node.mask)
    moved = assert_push_law(values.Case(small, case.inputs, case.core), {1: Affine(scale, shift)})
    assert moved.requirements[0].equals(Affine(scale, shift))


def test_under_a_fixed_mask_a_constant_need_not_take_an_inverse_that_is_none():
    mask = np.array([True, False, True]).reshape(3, 1)
    node = Choice(2, {1: Operand((3, 4), 2)}, {2: np.ones((1, 1))}, mask)
    nothing = per_channel(np.zeros(3), np.ones(3), rank=2, axis=0)
    assert push(node, {1: nothing}).requirements[0].scale.reshape(-1).tolist() == [0.0, 1.0, 0.0]


@st.composite
def largest(draw):
    """Of two or three tensors, of which one may be a constant."""
    tensors = {index: draw(values.arrays(*SHAPE)) for index in range(draw(st.integers(1, 2)))}
    held = {len(tensors): draw(values.arrays(1, 1, 1))} if len(tensors) == 1 or draw(st.booleans()) else {}
    return values.Case(Choice(3, dict.fromkeys(tensors, WHOLE), held, by_size=True), tensors)


POSITIVE = st.floats(0.1, 9.0)


@given(data=st.data(), case=largest())
def test_what_is_behind_the_largest_goes_to_all_where_no_scale_is_negative(data, case):
    scale = data.draw(values.arrays(1, 3, 1, elements=POSITIVE | st.just(0.0)))
    moved = assert_pull_law(case, {0: Affine(scale, data.draw(values.arrays(1, 3, 1)))})
    assert set(moved.requirements) == set(case.node.operands)


@given(data=st.data(), case=largest())
def test_one_map_in_front_of_the_largest_passes_where_no_scale_is_negative(data, case):
    affine = Affine(data.draw(values.arrays(1, 3, 1, elements=POSITIVE)), np.zeros((1, 1, 1)))
    moved = assert_push_law(case, dict.fromkeys(case.node.operands, affine))
    assert moved.requirements[0].equals(affine)


def test_a_negative_scale_turns_an_order_around():
    node = Choice(2, {0: Operand((3, 4), 2), 1: Operand((3, 4), 2)}, by_size=True)
    affine = per_channel(np.array([1.0, -2.0, -1.0, 3.0]), np.zeros(4), rank=2)
    said = "scale < 0 in 2 of 4 channels (min -2, channel 1)"
    assert_refused(pull(node, {0: affine}), Reason.NEEDS_NON_NEGATIVE_SCALE, said)
    assert_refused(push(node, {0: affine, 1: affine}), Reason.NEEDS_NON_NEGATIVE_SCALE, said)
    assert push(node, {0: affine}).reason is Reason.OTHER_BRANCH


def test_the_reasons():
    free, held = Choice(3, {1: WHOLE, 2: WHOLE}), Choice(3, {2: WHOLE}, {1: np.ones((1, 1, 1))})
    affine = per_channel(np.arange(3.0), np.ones(3), rank=3)
    said = "the other tensor that is chosen from does not have the same map"
    assert_refused(push(free, {1: affine}), Reason.OTHER_BRANCH, said)
    assert push(held, {2: affine}).reason is Reason.ZERO_SCALE
    assert_refused(push(held, {0: affine}), Reason.NOT_LINEAR, "the operator reads the tensor as one of its parameters")
    narrow = Choice(3, {1: Operand((2, 1, 4), 3), 2: WHOLE})
    assert pull(narrow, {0: affine}).reason is Reason.WRONG_AXIS
    assert pull(Choice(3, {1: Operand((2, None, 4), 3), 2: WHOLE}), {0: affine}).reason is Reason.UNKNOWN_SHAPE


@pytest.mark.parametrize(("number", "reason"), [(np.nan, Reason.NOT_FINITE), (1e308, Reason.OVERFLOW)])
def test_a_constant_that_is_no_number(number, reason):
    node = Choice(2, {1: Operand((3, 4), 2)}, {2: np.full((1, 1), number)})
    assert pull(node, {0: per_channel(np.full(1, 10.0), np.ones(1), rank=2)}).reason is reason
