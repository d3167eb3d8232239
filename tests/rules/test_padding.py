"""Padding with a number: maps that make one number of it pass, and no others."""

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from bnfold.affine import Affine, per_channel
from bnfold.refusal import Reason
from bnfold.rules import pull, push
from bnfold.semantics import Padding
from tests.rules import values
from tests.rules.laws import assert_pull_one, assert_push_one, assert_refused


@st.composite
def paddings(draw):
    x = values.numbers(draw(values.SHAPES.filter(len)), draw(values.SEEDS))
    axes = tuple(axis for axis in range(x.ndim) if draw(st.booleans()))
    source = draw(st.integers(0, 1))
    return values.Case(Padding(x.ndim, axes, draw(values.NUMBERS), source), {source: x})


def uniform(affine):
    first = (0,) * affine.rank
    whole = (1,) * affine.rank
    return Affine(np.full(whole, affine.scale[first]), np.full(whole, affine.shift[first]))


@given(data=st.data(), case=paddings())
def test_pull_law(data, case):
    affine = uniform(data.draw(values.maps(case.x.shape)))
    moved = assert_pull_one(case, affine)
    assert moved.requirements[case.node.source].equals(affine)


@given(data=st.data(), case=paddings())
def test_push_law(data, case):
    """In the other direction the number is divided by the scale: of the result, that is one rounding more."""
    affine = uniform(data.draw(values.maps(case.x.shape)))
    assume(affine.scale.all())
    # What is taken off the number and comes back behind it must not be so much larger that nothing is left of it.
    assume(abs(float(affine.shift.reshape(-1)[0])) <= 100 * abs(case.node.value))
    assert_push_one(case, affine)


@given(data=st.data(), case=paddings())
def test_scales_of_a_zero_vary_along_other_axes(data, case):
    node = Padding(case.node.rank, case.node.axes, 0.0, case.node.source)
    axes = [axis for axis in range(node.rank) if axis not in node.axes]
    shape = [length + 3 if axis in node.axes else length for axis, length in enumerate(case.x.shape)]
    affine = data.draw(values.maps(shape, axes)).scale_alone()
    assert_pull_one(values.Case(node, case.inputs), affine)


@pytest.mark.parametrize("move", [pull, push])
def test_along_a_padded_axis_no_map_may_vary(move):
    answer = move(Padding(3, (1,), 0.0), {0: per_channel([1.0, 2.0], 0.0, rank=3)})
    assert_refused(answer, Reason.WRONG_AXIS, "the map varies along axis 1, along which a number is padded")


@pytest.mark.parametrize("move", [pull, push])
def test_one_number_cannot_become_two(move):
    answer = move(Padding(3, (2,), 0.5), {0: per_channel([1.0, 2.0, 2.0], 0.0, rank=3)})
    assert_refused(answer, Reason.WRONG_AXIS, "the map would make 2 numbers of the one that is padded")


def test_a_scale_of_zero_cannot_be_undone():
    answer = push(Padding(3, (2,), 0.5), {0: per_channel([1.0, 0.0], 0.0, rank=3)})
    expected = "a scale is 0, and the number that is padded would have to be divided by it"
    assert_refused(answer, Reason.NOT_FINITE, expected)


def test_the_number_must_stay_one():
    answer = pull(Padding(3, (2,), 1e300), {0: per_channel(1e300, 0.0, rank=3)})
    assert_refused(answer, Reason.OVERFLOW, "the number that is padded exceeds the largest float64")
