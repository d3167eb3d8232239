"""Regrouping against numpy's reshape: parameters of full size show where every place goes."""

import math

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from bnfold.rearrange import Regrouping
from bnfold.refusal import Reason, Refusal
from tests.rules import values

FACTORS = st.lists(st.sampled_from([1, 1, 2, 2, 3, 5]), max_size=6)


@st.composite
def groupings(draw, factors):
    """A shape whose row-major places are those of the factors: neighbours multiplied, ones put in between."""
    shape = []
    for factor in factors:
        joins = bool(shape) and draw(st.booleans())
        shape = [*shape[:-1], shape[-1] * factor] if joins else [*shape, factor]
        shape += [1] if draw(st.integers(0, 5)) == 0 else []
    return tuple(shape)


@st.composite
def reshapes(draw):
    """Two shapes of as many places: the same factors grouped otherwise, or the factors in another order."""
    factors = draw(FACTORS)
    others = factors if draw(st.booleans()) else draw(st.permutations(factors))
    return draw(groupings(factors)), draw(groupings(others))


def directions(source, target):
    """push of source to target, and pull of target to source: both move parameters from the first to the second."""
    return [Regrouping(source, target).push, lambda given: Regrouping(target, source).pull(given, 7.0)]


def assert_moved(moved, given, source, target):
    """What came out has a legal shape and says of every place what the parameters said."""
    assert len(moved.shape) == len(target)
    assert all(length in (1, full) for length, full in zip(moved.shape, target, strict=True))
    expected = np.broadcast_to(given, source).reshape(target)
    assert np.array_equal(np.broadcast_to(moved, target), expected)


def varies(given):
    return given.size > 1 and bool(np.any(given != given.flat[0]))


@given(data=st.data(), shapes=reshapes())
def test_known_shapes_never_refuse(data, shapes):
    source, target = shapes
    given_values = data.draw(values.parameters(source, 1.0))
    for direction in directions(source, target):
        assert_moved(direction(given_values), given_values, source, target)


@given(data=st.data(), shapes=reshapes(), prime=st.sampled_from([7, 11]))
def test_the_batch_may_be_unknown(data, shapes, prime):
    """A length that has a name on both sides, or one on neither: what varies elsewhere only always passes."""
    source, target = (prime, *shapes[0]), (prime, *shapes[1])
    given_values = data.draw(values.parameters(source, 1.0, range(1, len(source))))
    name = data.draw(st.sampled_from([(None, None), ("batch", "batch"), ("batch", None), ("N", "M")]))
    for direction in directions((name[0], *source[1:]), (name[1], *target[1:])):
        assert_moved(direction(given_values), given_values, source, target)


@given(data=st.data(), shapes=reshapes())
def test_any_length_may_be_unknown(data, shapes):
    """Hidden lengths have no name, or one that all equal lengths share: what moves is right, or refused."""
    source, target = shapes
    hidden = data.draw(st.sets(st.sampled_from(sorted({*source, *target})), max_size=2)) if source or target else ()

    def declared(shape):
        return tuple(
            data.draw(st.sampled_from([None, f"length {length}"])) if length in hidden else length for length in shape
        )

    given_values = data.draw(values.parameters(source, 1.0))
    for direction in directions(declared(source), declared(target)):
        answer = direction(given_values)
        if isinstance(answer, Refusal):
            assert answer.reason is Reason.UNKNOWN_SHAPE
            assert hidden
            assert varies(given_values), "what does not vary needs no lengths"
        else:
            assert_moved(answer, given_values, source, target)


@given(data=st.data(), shapes=reshapes())
def test_there_and_back(data, shapes):
    source, target = shapes
    given_values = data.draw(values.parameters(source, 1.0))
    step = Regrouping(source, target)
    back = step.pull(step.push(given_values), 1.0)
    assert np.array_equal(np.broadcast_to(back, source), np.broadcast_to(given_values, source))


@given(shapes=reshapes(), data=st.data())
def test_axes_that_keep_their_places_do_not_become_full(shapes, data):
    """A map over the last axis stays one over the last axis, however the axes before it are regrouped."""
    source, target = ((*shape, 7) for shape in shapes)
    assume(math.prod(source) > 7)
    vector = np.arange(7.0).reshape(*(1,) * (len(source) - 1), 7)
    stored = vector if data.draw(st.booleans()) else np.broadcast_to(vector, source)
    for direction in directions(source, target):
        assert direction(stored).shape == (*(1,) * (len(target) - 1), 7)


@pytest.mark.parametrize(
    ("source", "target", "axis", "expected"),
    [
        ((None, 768, 14, 14), (None, 768, 196), 1, (1, 768, 1)),
        (("N", 768, 14, 14), ("N", 768, 196), 1, (1, 768, 1)),
        ((None, 197, 192), (None, 197, 3, 8, 8), 2, (1, 1, 3, 8, 8)),
        ((None, 64, 1, 1), (None, 64), 1, (1, 64)),
        ((None, 64), (None, 64, 1, 1), 1, (1, 64, 1, 1)),
        ((None, 4, 7, 7), (None, 196), 1, (1, 196)),
        ((None, 196), (None, 4, 7, 7), 1, (1, 4, 7, 7)),
        ((1, "N", 4), ("N", 4), 2, (1, 4)),
        (("N", 8, "H", "W"), ("N", 2, 4, "H", "W"), 1, (1, 2, 4, 1, 1)),
        (("N", "H", "W", 8), (None, 8), 3, (1, 8)),
        (("N", "L", 8), ("N*L", 8), 2, (1, 8)),
        ((None, 8), ("N", "L", 8), 1, (1, 1, 8)),
    ],
)
def test_shapes_of_real_networks(source, target, axis, expected):
    length = source[axis]
    given_values = np.arange(float(length)).reshape([length if place == axis else 1 for place in range(len(source))])
    for direction in directions(source, target):
        moved = direction(given_values)
        assert moved.shape == expected
        concrete = [[size if isinstance(size, int) else 6 for size in shape] for shape in (source, target)]
        if math.prod(concrete[0]) == math.prod(concrete[1]):
            assert_moved(moved, given_values, *concrete)


@pytest.mark.parametrize(
    ("source", "target", "shape", "evidence"),
    [
        ((None, 64, None), (None, 64, None), (1, 64, 1), "from (?, 64, ?) to (?, 64, ?)"),
        (("N", 64, "H"), ("N", "64 * H"), (1, 64, 1), "from (64, H) to (64 * H)"),
        ((None, 4), ("N",), (1, 4), "from (?, 4) to (N)"),
        (("A", "B", 2), ("B", "A", 2), (1, 5, 1), "from (A, B) to (B, A)"),
    ],
)
def test_refusals_name_the_lengths_in_question(source, target, shape, evidence):
    expected = Refusal(Reason.UNKNOWN_SHAPE, f"the map varies along an axis that is regrouped {evidence}")
    for direction in directions(source, target):
        assert direction(np.arange(float(math.prod(shape))).reshape(shape)) == expected
        assert direction(np.ones(shape)).shape == (1,) * len(target)


def test_scalars():
    assert Regrouping((), (1, 1)).push(np.array(3.0)).shape == (1, 1)
    assert Regrouping((), (1, 1)).pull(np.array([[3.0]]), 1.0).shape == ()


@given(shapes=reshapes(), data=st.data())
def test_lengths_that_are_not_known_change_nothing_but_what_is_refused(shapes, data):
    """Whatever moves with some lengths hidden is what moves with all of them known."""
    source, target = shapes
    given_values = np.asarray(data.draw(values.parameters(source, 1.0)))
    hidden = [tuple(data.draw(st.sampled_from([length, length, None])) for length in shape) for shape in shapes]
    moved = Regrouping(*hidden).push(given_values)
    if not isinstance(moved, Refusal):
        assert_moved(moved, given_values, source, target)


@pytest.mark.parametrize(
    ("source", "target", "axis", "expected"),
    [
        (("N", 8), ("M", 4), 1, None),
        (("N", 4), ("M", 8), 1, (1, 8)),
        (("N", 4), ("M", 2, 6), 1, (1, 2, 6)),
        (("N", "L", 4), ("M", 2, 2), 2, (1, 2, 2)),
        (("N", 4, 5), ("M", 10), 2, (1, 10)),
        (("N", 6), ("M", 4), 1, None),
    ],
)
def test_a_map_begins_anew_where_a_length_is_not_known(source, target, axis, expected):
    length = source[axis]
    vector = np.arange(float(length)).reshape([length if place == axis else 1 for place in range(len(source))])
    for direction in directions(source, target):
        moved = direction(vector)
        if expected is None:
            assert isinstance(moved, Refusal)
        else:
            assert moved.shape == expected
            repeated = np.tile(vector.reshape(-1), math.prod(expected) // length)
            assert np.array_equal(moved.reshape(-1), repeated)


def test_a_map_that_repeats_along_a_longer_axis():
    for direction in directions(("N", 8), ("M", 4)):
        assert np.array_equal(direction(np.tile([1.0, 2.0, 3.0, 4.0], 2)[None]), [[1.0, 2.0, 3.0, 4.0]])
        assert isinstance(direction(np.arange(8.0)[None]), Refusal)
