"""Concatenation and split: every part has its own piece of the map."""

import itertools
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bnfold.affine import Affine, per_channel
from bnfold.rearrange import Regrouping, Selection
from bnfold.refusal import Reason, Refusal
from bnfold.rules import pull, push
from bnfold.semantics import Concatenation, Split
from tests.rules import values
from tests.rules.laws import assert_pull_law, assert_pull_one, assert_push_law, assert_push_one, assert_refused

UNKNOWN = "the length of an input on axis 1 is not known before run time"


@st.composite
def concatenations(draw):
    """Up to four tensors one behind the other, some of them empty along the axis."""
    shape = draw(st.lists(values.LENGTHS, min_size=1, max_size=4))
    axis = draw(st.integers(0, len(shape) - 1))
    sizes = draw(st.lists(st.integers(0, 3), min_size=1, max_size=4).filter(any))
    inputs = {
        index: values.numbers((*shape[:axis], size, *shape[axis + 1 :]), draw(values.SEEDS))
        for index, size in enumerate(sizes)
    }
    return values.Case(Concatenation(axis, len(shape), tuple(sizes)), inputs)


@st.composite
def stacks(draw):
    """Equal shapes, each of which gets a new axis."""
    shape, count = draw(values.SHAPES), draw(st.integers(1, 3))
    axis = draw(st.integers(0, len(shape)))
    inputs = {index: values.numbers(shape, draw(values.SEEDS)) for index in range(count)}
    steps = (Regrouping(shape, (*shape[:axis], 1, *shape[axis:])),)
    return values.Case(Concatenation(axis, len(shape) + 1, (1,) * count, steps), inputs)


@st.composite
def partitions(draw):
    """The parts need not cover the axis, nor come in order; some are empty."""
    shape = draw(values.SHAPES.filter(len))
    axis = draw(st.integers(0, len(shape) - 1))
    cuts = sorted(draw(st.lists(st.integers(0, shape[axis]), min_size=2, max_size=5)))
    parts = draw(st.permutations(list(itertools.pairwise(cuts))))
    source = draw(st.integers(0, 1))
    x = values.numbers(shape, draw(values.SEEDS))
    return values.Case(Split(axis, len(shape), tuple(parts), shape[axis], source), {source: x})


@st.composite
def some_maps(draw, tensors):
    """Maps for at least one of these tensors."""
    chosen = draw(st.sets(st.sampled_from(sorted(tensors)), min_size=1))
    return {index: draw(values.maps(tensors[index].shape)) for index in sorted(chosen)}


def unknown(node, indices):
    sizes = tuple(None if index in indices else size for index, size in enumerate(node.sizes))
    return Concatenation(node.axis, node.rank, sizes)


@given(data=st.data(), case=concatenations())
def test_pull_through_concatenation(data, case):
    node = case.node
    shape = list(case.inputs[0].shape)
    shape[node.axis] = sum(node.sizes)
    moved = assert_pull_one(case, data.draw(values.maps(shape)))
    assert moved.meaning is None
    assert moved.requirements.keys() == case.inputs.keys()


@given(data=st.data(), case=concatenations())
def test_a_constant_takes_its_part_of_the_map(data, case):
    """Whichever inputs are constants, those that are none get what they would get otherwise."""
    fixed = data.draw(st.sets(st.sampled_from(sorted(case.inputs)), min_size=1))
    given = {index: x for index, x in case.inputs.items() if index not in fixed}
    node = replace(case.node, constants={index: case.inputs[index] for index in fixed})
    shape = list(case.inputs[0].shape)
    shape[node.axis] = sum(node.sizes)
    affine = data.draw(values.maps(shape))
    moved = assert_pull_one(values.Case(node, given), affine)
    assert moved.requirements.keys() == given.keys()
    assert moved.meaning.constants.keys() == fixed


@pytest.mark.parametrize(
    ("constant", "scale", "reason"), [(np.inf, 1.0, Reason.NOT_FINITE), (1e300, 1e300, Reason.OVERFLOW)]
)
def test_a_constant_must_stay_a_number(constant, scale, reason):
    node = Concatenation(1, 2, (1, 1), constants={1: np.full((3, 1), constant)})
    assert pull(node, {0: per_channel(scale, 1.0, rank=2)}).reason is reason


@given(data=st.data(), case=concatenations())
def test_push_through_concatenation(data, case):
    moved = assert_push_law(case, data.draw(some_maps(case.inputs)))
    assert moved.meaning is None
    assert moved.requirements.keys() == {0}


@given(data=st.data(), case=concatenations())
def test_unknown_lengths_do_not_stop_what_is_the_same_everywhere_on_the_axis(data, case):
    node = case.node
    shape = list(case.inputs[0].shape)
    shape[node.axis] = sum(node.sizes)
    affine = data.draw(values.maps(shape, [axis for axis in range(node.rank) if axis != node.axis]))
    hidden = data.draw(st.sets(st.integers(0, len(node.sizes) - 1)))
    assert_pull_one(values.Case(unknown(node, hidden), case.inputs), affine)


@given(data=st.data(), case=stacks())
def test_pull_through_a_stack(data, case):
    shape = list(case.inputs[0].shape)
    shape.insert(case.node.axis, len(case.inputs))
    assert_pull_one(case, data.draw(values.maps(shape)))


@given(data=st.data(), case=stacks())
def test_push_through_a_stack(data, case):
    assert_push_law(case, data.draw(some_maps(case.inputs)))


@pytest.mark.parametrize("hidden", [{0}, {1}, {0, 1}])
@pytest.mark.parametrize("part", ["scale", "shift"])
def test_pull_refuses_unknown_lengths(hidden, part):
    node = unknown(Concatenation(1, 3, (2, 2)), hidden)
    affine = per_channel(**{"scale": 1.0, "shift": 0.0, part: np.arange(4.0)}, rank=3)
    assert_refused(pull(node, {0: affine}), Reason.UNKNOWN_SHAPE, UNKNOWN)


@pytest.mark.parametrize("hidden", [{0}, {1}, {0, 1}])
def test_push_refuses_unknown_lengths(hidden):
    node = unknown(Concatenation(1, 3, (2, 2)), hidden)
    assert_refused(push(node, {0: per_channel([1.0, 2.0], 0.0, rank=3)}), Reason.UNKNOWN_SHAPE, UNKNOWN)


@given(data=st.data(), case=partitions())
def test_pull_through_split(data, case):
    node = case.node
    tensors = {index: np.take(case.x, range(*part), axis=node.axis) for index, part in enumerate(node.parts)}
    moved = assert_pull_law(case, data.draw(some_maps(tensors)))
    assert moved.meaning is None
    assert moved.requirements.keys() == {node.source}


@given(data=st.data(), case=partitions())
def test_push_through_split(data, case):
    moved = assert_push_one(case, data.draw(values.maps(case.x.shape)))
    assert moved.meaning is None
    assert moved.requirements.keys() == set(range(len(case.node.parts)))


def test_what_has_no_map_is_left_alone():
    """A part without a map gets scale 1 and shift 0, exactly."""
    affine = per_channel([2.0, 3.0], [5.0, 7.0], rank=2)
    joined = push(Concatenation(1, 2, (1, 2, 2)), {1: affine}).requirements[0]
    split = pull(Split(1, 2, ((0, 1), (1, 3), (3, 5)), 5, source=1), {1: affine}).requirements[1]
    for whole in (joined, split):
        assert np.array_equal(whole.scale, [[1.0, 2.0, 3.0, 1.0, 1.0]])
        assert np.array_equal(whole.shift, [[0.0, 5.0, 7.0, 0.0, 0.0]])


def test_parts_may_vary_along_different_axes():
    over_rows = Affine(np.arange(3.0).reshape(3, 1), np.zeros((1, 1)))
    over_columns = per_channel([5.0, 7.0], 0.0, rank=2)
    answer = push(Concatenation(1, 2, (1, 2)), {0: over_rows, 1: over_columns})
    assert not isinstance(answer, Refusal)
    assert np.array_equal(answer.requirements[0].scale, [[0.0, 5.0, 7.0], [1.0, 5.0, 7.0], [2.0, 5.0, 7.0]])


@st.composite
def overlays(draw):
    """One tensor with places that are another's: the last places are shown in the place of some of the first."""
    shape = draw(st.lists(values.LENGTHS, min_size=1, max_size=4))
    axis = draw(st.integers(0, len(shape) - 1))
    replaced = draw(st.lists(st.integers(0, shape[axis] - 1), unique=True, max_size=3))
    shown = [shape[axis] + replaced.index(place) if place in replaced else place for place in range(shape[axis])]
    sizes = {0: shape[axis], 2: len(replaced)}
    inputs = {
        slot: values.numbers((*shape[:axis], size, *shape[axis + 1 :]), draw(values.SEEDS))
        for slot, size in sizes.items()
    }
    behind = (Selection(axis, tuple(shown), sum(sizes.values())),)
    return values.Case(
        Concatenation(axis, len(shape), tuple(sizes.values()), behind=behind, slots=tuple(sizes)), inputs
    )


@given(data=st.data(), case=overlays())
def test_pull_through_an_overlay(data, case):
    moved = assert_pull_one(case, data.draw(values.maps(case.inputs[0].shape)))
    assert moved.requirements.keys() == {0, 2}


@given(data=st.data(), case=overlays())
def test_push_through_an_overlay(data, case):
    assert_push_law(case, data.draw(some_maps(case.inputs)))


@given(data=st.data(), case=overlays(), slot=st.sampled_from([0, 2]))
def test_a_constant_of_an_overlay_takes_its_part_of_the_map(data, case, slot):
    node = replace(case.node, constants={slot: case.inputs[slot]})
    given = {index: x for index, x in case.inputs.items() if index != slot}
    affine = data.draw(values.maps(case.inputs[0].shape))
    assert_pull_one(values.Case(node, given), affine)
