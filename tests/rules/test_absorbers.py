"""Operators that end in parameters, and the input side of recurrent operators."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bnfold.affine import Affine, per_channel
from bnfold.refusal import Reason
from bnfold.semantics import Embedding, Normalisation, Recurrent
from tests.rules import values
from tests.rules.laws import assert_pull_one, assert_push_one, assert_refused, pull_one, push_one

OVERFLOW = "a folded parameter exceeds the largest float64"


@st.composite
def normalisations(draw):
    """Statistics per sample, over all axes but the first; parameters along some axes."""
    x = values.numbers(draw(values.SHAPES.filter(len)), draw(values.SEEDS))
    axes = tuple(axis for axis in range(x.ndim) if draw(st.booleans()))

    def normalised(x):
        inner = tuple(range(1, x.ndim))
        centred = x - x.mean(inner, keepdims=True)
        return centred / np.sqrt(np.square(centred / 1e20).mean(inner, keepdims=True) + 1e-5)

    n = normalised(x)
    return values.Case(Normalisation(draw(values.maps(x.shape, axes)), axes), {0: x}, normalised, lambda _: np.abs(n))


@st.composite
def tables(draw):
    """A table of any rank, looked up on any axis by an index of any rank."""
    table = values.numbers(draw(values.SHAPES.filter(len)), draw(values.SEEDS))
    axis = draw(st.integers(0, table.ndim - 1))
    index = draw(st.lists(values.LENGTHS, max_size=2).map(tuple))
    rows = np.random.default_rng(draw(values.SEEDS)).integers(0, table.shape[axis], index)
    return values.Case(Embedding(table, axis, len(index)), {1: np.asarray(rows)})


@st.composite
def recurrents(draw):
    """One or two directions; sequence and batch in either order, and the inputs on any axis."""
    directions, rows, inputs = draw(st.integers(1, 2)), draw(st.integers(1, 4)), draw(values.LENGTHS)
    axis, source = draw(st.integers(0, 2)), draw(st.integers(0, 1))
    x = draw(values.tensors(3, inputs, axis))
    weight = values.numbers((directions, rows, inputs), draw(values.SEEDS))
    bias = values.numbers((directions, rows), draw(values.SEEDS)) if draw(st.booleans()) else None
    return values.Case(Recurrent(weight, bias, axis, source), {source: x})


@given(data=st.data(), case=normalisations())
def test_normalisation(data, case):
    moved = assert_pull_one(case, data.draw(values.maps(case.x.shape, case.node.axes)))
    assert moved.choices == ({},)
    assert moved.meaning.axes == case.node.axes


@pytest.mark.parametrize("part", ["scale", "shift"])
def test_normalisation_refuses_another_axis(part):
    node = Normalisation(per_channel([1.0, 2.0], 0.0, rank=4, axis=3), (2, 3))
    affine = per_channel(**{"scale": 1.0, "shift": 0.0, part: [1.0, 2.0]}, rank=4, axis=1)
    expected = "the map varies along axis 1, the operator's parameters along [2, 3]"
    assert_refused(pull_one(node, affine), Reason.WRONG_AXIS, expected)


def test_normalisation_does_not_grow_by_what_a_constant_stores_in_copies():
    node = Normalisation(per_channel([1.0, 2.0], [3.0, 4.0], rank=3), (1,))
    stored = Affine(np.full((5, 2, 7), 2.0), np.ones((5, 2, 7)))
    absorbed = pull_one(node, stored).meaning.affine
    assert np.array_equal(absorbed.scale, [[[2.0], [4.0]]])
    assert np.array_equal(absorbed.shift, [[[7.0], [9.0]]])


@given(data=st.data(), case=tables())
def test_table(data, case):
    table, axis = case.node.values, case.node.axis
    shape = (*table.shape[:axis], *case.inputs[1].shape, *table.shape[axis + 1 :])
    index_axes = range(axis, axis + case.node.index_rank)
    axes = [place for place in range(len(shape)) if place not in index_axes]
    moved = assert_pull_one(case, data.draw(values.maps(shape, axes)))
    assert moved.choices == ({},)
    assert moved.meaning.values.shape == table.shape


@pytest.mark.parametrize("axis", [1, 2])
@pytest.mark.parametrize("part", ["scale", "shift"])
def test_table_refuses_an_axis_of_the_index(axis, part):
    affine = per_channel(**{"scale": 1.0, "shift": 0.0, part: [1.0, 2.0]}, rank=4, axis=axis)
    expected = f"the map varies along axis {axis}, which is an axis of the index"
    assert_refused(pull_one(Embedding(np.ones((3, 5, 4)), 1, 2), affine), Reason.WRONG_AXIS, expected)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_table_refuses_what_is_not_finite(bad):
    """Padding rows of minus infinity: a scale of 0 would make NaN of them."""
    expected = "the table holds NaN or infinity before anything is folded"
    node = Embedding(np.array([[1.0, bad]]), 0, 1)
    assert_refused(pull_one(node, per_channel(0.0, 0.0, rank=2)), Reason.NOT_FINITE, expected)


@given(data=st.data(), case=recurrents())
def test_recurrent(data, case):
    node = case.node
    affine = data.draw(values.maps(case.x.shape, [node.input_axis]))
    moved = assert_push_one(case, affine)
    assert moved.choices == ({},)
    assert moved.meaning.weight.shape == node.weight.shape
    assert (moved.meaning.input_axis, moved.meaning.source) == (node.input_axis, node.source)
    assert (moved.meaning.bias is None) == (node.bias is None and not affine.has_shift)
    assert moved.meaning.bias is None or moved.meaning.bias.shape == node.weight.shape[:2]


@pytest.mark.parametrize("axis", [0, 1])
@pytest.mark.parametrize("part", ["scale", "shift"])
def test_recurrent_refuses_sequence_and_batch(axis, part):
    affine = per_channel(**{"scale": 1.0, "shift": 0.0, part: [1.0, 2.0]}, rank=3, axis=axis)
    expected = f"the map varies along axis {axis}, the inputs are on axis 2"
    assert_refused(push_one(Recurrent(np.ones((1, 4, 2)), None, 2), affine), Reason.WRONG_AXIS, expected)


def test_recurrent_refuses_another_number_of_inputs():
    node = Recurrent(np.ones((1, 4, 2)), None, 2)
    affine = per_channel(np.arange(3.0), 0.0, rank=3, axis=2)
    assert_refused(push_one(node, affine), Reason.MALFORMED, "the map has 3 channels, the operator has 2 inputs")


@pytest.mark.parametrize("where", ["weight", "bias"])
def test_recurrent_refuses_what_is_not_finite(where):
    parameters = {"weight": np.ones((1, 4, 2)), "bias": np.ones((1, 4))}
    parameters[where][0, 1] = np.inf
    expected = "the weight or the bias holds NaN or infinity before anything is folded"
    answer = push_one(Recurrent(**parameters, input_axis=2), per_channel(0.0, 0.0, rank=3))
    assert_refused(answer, Reason.NOT_FINITE, expected)


@pytest.mark.parametrize("affine", [per_channel(1e200, 0.0, rank=3), per_channel(1.0, 1e200, rank=3)])
def test_recurrent_refuses_overflow(affine):
    node = Recurrent(np.full((1, 4, 2), 1e200), None, 2)
    assert_refused(push_one(node, affine), Reason.OVERFLOW, OVERFLOW)
