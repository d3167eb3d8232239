"""Data movement: any map passes, as its parameters move where the data moves."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bnfold.affine import Affine, identity, per_channel
from bnfold.rearrange import Regrouping, Repetition, Selection, Transposition
from bnfold.refusal import Reason, Refusal
from bnfold.rules import where_shown
from bnfold.semantics import Rearrangement
from tests.rules import values
from tests.rules.evaluate import move
from tests.rules.laws import assert_pull_one, assert_push_one, assert_refused, pull_one, push_one


@st.composite
def transpositions(draw, shape):
    return Transposition(tuple(draw(st.permutations(range(len(shape))))))


@st.composite
def regroupings(draw, shape):
    """The same factors, grouped otherwise; axes of length 1 anywhere."""
    factors = [factor for length in shape for factor in {4: (2, 2), 6: (2, 3)}.get(length, (length,)) if factor > 1]
    factors = factors if draw(st.booleans()) else draw(st.permutations(factors))
    target = [1]
    for factor in [*factors, 1]:
        target = [*target, factor] if draw(st.booleans()) else [*target[:-1], target[-1] * factor]
    return Regrouping(shape, tuple(target if draw(st.booleans()) else [length for length in target if length > 1]))


@st.composite
def takings(draw, shape):
    """Any slice that is not empty, in either direction."""
    axis = draw(st.integers(0, len(shape) - 1))
    start, stop = draw(st.integers(0, shape[axis] - 1)), draw(st.integers(0, shape[axis] - 1))
    step = draw(st.integers(1, 3)) * (1 if stop >= start else -1)
    return Selection(axis, range(start, stop + (1 if step > 0 else -1), step), shape[axis])


@st.composite
def permutations(draw, shape):
    """Every place once, in any order."""
    axis = draw(st.integers(0, len(shape) - 1))
    return Selection(axis, tuple(draw(st.permutations(range(shape[axis])))), shape[axis])


@st.composite
def selections(draw, shape):
    """Some places, some of them several times."""
    axis = draw(st.integers(0, len(shape) - 1))
    places = draw(st.lists(st.integers(0, shape[axis] - 1), min_size=1, max_size=5))
    return Selection(axis, tuple(places), shape[axis])


@st.composite
def repetitions(draw, shape):
    front = draw(st.lists(st.integers(1, 2), max_size=1))
    target = [length if length > 1 else draw(st.integers(1, 3)) for length in shape]
    return Repetition((1,) * len(front) + shape, (*front, *target), len(shape))


@st.composite
def rearrangements(draw, kinds):
    """Up to three steps, one behind the other, on a tensor of any shape."""
    x = values.numbers(draw(values.SHAPES), draw(values.SEEDS))
    steps, y = [], x
    for _ in range(draw(st.integers(0, 3))):
        kind = draw(st.sampled_from(kinds))
        if kind in (takings, permutations, selections) and not y.ndim:
            continue
        steps.append(draw(kind(y.shape)))
        y = move(steps[-1], y)
    source = draw(st.integers(0, 1))
    return values.Case(Rearrangement(tuple(steps), source), {source: x})


def moved_by(case):
    x = case.x
    for step in case.node.steps:
        x = move(step, x)
    return x


ALL = (transpositions, regroupings, takings, permutations, selections, repetitions)


@given(data=st.data(), case=rearrangements(ALL))
def test_push_law(data, case):
    moved = assert_push_one(case, data.draw(values.maps(case.x.shape)))
    assert moved.meaning is None
    assert moved.requirements.keys() == {0}


@given(data=st.data(), case=rearrangements([transpositions, regroupings, takings, permutations]))
def test_pull_law(data, case):
    moved = assert_pull_one(case, data.draw(values.maps(moved_by(case).shape)))
    assert moved.meaning is None
    assert moved.requirements.keys() == {case.node.source}


@given(data=st.data(), case=rearrangements(ALL))
def test_pull_law_where_values_may_be_repeated(data, case):
    affine = data.draw(values.maps(moved_by(case).shape))
    answer = pull_one(case.node, affine)
    if isinstance(answer, Refusal):
        assert answer.reason is Reason.WRONG_AXIS
        assert any(isinstance(step, (Repetition, Selection)) for step in case.node.steps)
    else:
        assert_pull_one(case, affine)


@given(data=st.data(), case=rearrangements(ALL))
def test_what_was_pushed_can_be_pulled_again(data, case):
    """Even through a repetition, along which a pushed map cannot vary."""
    behind = push_one(case.node, data.draw(values.maps(case.x.shape))).requirements[0]
    assert_pull_one(case, behind)


@given(case=rearrangements(ALL))
def test_the_identity_stays_the_identity(case):
    for moved in (push_one(case.node, identity(case.x.ndim)), pull_one(case.node, identity(moved_by(case).ndim))):
        assert all(requirement.is_identity for requirement in moved.requirements.values())


def test_places_that_a_slice_leaves_out_are_left_alone():
    every_other = Rearrangement((Selection(1, range(3, -1, -2), 4),))
    whole = pull_one(every_other, per_channel([2.0, 3.0], [5.0, 7.0], rank=2)).requirements[0]
    assert np.array_equal(whole.scale, [[1.0, 3.0, 1.0, 2.0]])
    assert np.array_equal(whole.shift, [[0.0, 7.0, 0.0, 5.0]])


def test_an_empty_slice():
    nothing = Rearrangement((Selection(1, range(2, 2), 4),))
    assert push_one(nothing, per_channel(np.arange(4.0), 0.0, rank=2)).requirements[0].scale.shape == (1, 0)
    whole = pull_one(nothing, Affine(np.ones((1, 0)), np.zeros((1, 0)))).requirements[0]
    assert whole.is_identity


@pytest.mark.parametrize("part", ["scale", "shift"])
def test_repetition_refuses_what_varies_along_it(part):
    node = Rearrangement((Repetition((1, 1, 3), (5, 4, 3), 2),))
    for axis, length in enumerate((5, 4)):
        affine = per_channel(**{"scale": 1.0, "shift": 0.0, part: np.arange(float(length))}, rank=3, axis=axis)
        expected = f"the map varies along axis {axis}, along which values are repeated"
        assert_refused(pull_one(node, affine), Reason.WRONG_AXIS, expected)


@pytest.mark.parametrize("length", [None, "batch"])
def test_a_repetition_of_unknown_length(length):
    """Expand to (batch, 3) of a tensor of (1, 3), and of one of (batch, 3) of the same batch."""
    columns = per_channel(np.arange(3.0), [5.0, 6.0, 7.0], rank=2)
    for first in (1, length):
        for affine in (columns, Affine(np.tile(columns.scale, (2, 1)), columns.shift)):
            case = values.Case(
                Rearrangement((Repetition((first, 3), (length, 3), 2),)),
                {0: np.ones((1 if first == 1 else 2, 3))},
                (Repetition((1 if first == 1 else 2, 3), (2, 3), 2),),
            )
            assert_pull_one(case, affine)
            assert_push_one(case, columns)


def test_a_map_may_vary_along_a_named_length_that_stays():
    rows = per_channel([2.0, 3.0], 0.0, rank=2, axis=0)
    moved = pull_one(Rearrangement((Repetition(("batch", 1), ("batch", 4), 2),)), rows)
    assert np.array_equal(moved.requirements[0].scale, rows.scale)


@pytest.mark.parametrize("new", [None, "rows", 3])
def test_a_length_other_than_one_is_never_repeated(new):
    rows = per_channel(np.arange(3.0), 0.0, rank=2, axis=0)
    moved = pull_one(Rearrangement((Repetition((3, 1), (new, 4), 2),)), rows)
    assert np.array_equal(moved.requirements[0].scale, rows.scale)


@pytest.mark.parametrize(("old", "new"), [(None, None), (None, 2), ("a", "b"), ("a", 2), (None, "b")])
def test_whether_values_are_repeated_may_be_unknown(old, new):
    rows = per_channel([2.0, 3.0], 0.0, rank=2, axis=0)
    answer = pull_one(Rearrangement((Repetition((old, 3), (new, 3), 2),)), rows)
    expected = "whether values are repeated along axis 0, along which the map varies, is not known before run time"
    assert_refused(answer, Reason.UNKNOWN_SHAPE, expected)


def test_a_place_that_is_shown_twice_takes_one_map_alone():
    twice = Rearrangement((Selection(1, (2, 0, 2), 3),))
    same = pull_one(twice, per_channel([5.0, 7.0, 5.0], [1.0, 2.0, 1.0], rank=2)).requirements[0]
    assert np.array_equal(same.scale, [[7.0, 1.0, 5.0]])
    assert np.array_equal(same.shift, [[2.0, 0.0, 1.0]])
    different = pull_one(twice, per_channel([5.0, 7.0, 6.0], 0.0, rank=2))
    assert_refused(different, Reason.WRONG_AXIS, "the map varies along axis 1, along which values are repeated")


@given(data=st.data(), case=rearrangements([takings, transpositions]))
def test_a_map_at_the_places_that_slices_show_does_the_same_to_them(data, case):
    affine = data.draw(values.maps(case.x.shape))
    confined = where_shown(case.node, case.node.source, affine)
    expected = moved_by(values.Case(case.node, {case.node.source: case.x * affine.scale + affine.shift}))
    found = moved_by(values.Case(case.node, {case.node.source: case.x * confined.scale + confined.shift}))
    np.testing.assert_array_equal(found, expected)


@given(data=st.data(), axis=st.integers(0, 2))
def test_a_map_at_the_places_that_a_slice_shows_does_nothing_to_others(data, axis):
    x = np.arange(24.0).reshape(4, 3, 2)
    step = data.draw(takings(x.shape).filter(lambda step: step.axis == axis))
    confined = where_shown(Rearrangement((step,)), 0, data.draw(values.maps(x.shape)))
    unseen = ~np.isin(x, move(step, x))
    np.testing.assert_array_equal((x * confined.scale + confined.shift)[unseen], x[unseen])
