"""A constant times a tensor that is broadcast along it, and scales for tensors that would have to grow."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bnfold.affine import Affine, Widening, per_channel
from bnfold.refusal import Reason
from bnfold.rules import Moved, pull, push
from bnfold.semantics import AffineMap, BroadcastScale, Commuting, Form
from tests.rules import values
from tests.rules.evaluate import absolute, evaluate
from tests.rules.laws import assert_pull_one, assert_push_one, assert_refused, assert_same


def scale_alone(scale):
    return Affine(scale, np.zeros((1,) * scale.ndim))


@st.composite
def broadcasts(draw):
    """A constant of a shape, and a tensor that has length 1 along some of its axes, or lacks the first ones."""
    shape = draw(values.SHAPES)
    first = draw(st.integers(0, len(shape)))
    kept = tuple(length if draw(st.booleans()) else 1 for length in shape[first:])
    x = values.numbers(kept, draw(values.SEEDS))
    source = draw(st.integers(0, 1))
    return values.Case(BroadcastScale(values.numbers(shape, draw(values.SEEDS)), source), {source: x})


@given(data=st.data(), case=broadcasts())
def test_pull_law(data, case):
    scale = data.draw(values.parameters(case.node.values.shape, 1.0))
    assert assert_pull_one(case, scale_alone(scale)).requirements == {}


@given(data=st.data(), case=broadcasts())
def test_push_law(data, case):
    scale = data.draw(values.parameters(case.x.shape, 1.0))
    assert assert_push_one(case, scale_alone(scale)).requirements == {}


@pytest.mark.parametrize("move", [pull, push])
def test_a_shift_has_no_place(move):
    answer = move(BroadcastScale(np.ones((1, 2))), {0: per_channel(1.0, [1.0, 2.0], rank=2)})
    expected = "a multiplication has no parameter that could take the shift"
    assert_refused(answer, Reason.SHIFT_CANNOT_PASS, expected)


@st.composite
def factors(draw):
    """A Mul by a constant of the tensor's rank, or one that broadcasts the tensor."""
    if draw(st.booleans()):
        return draw(broadcasts())
    return draw(values.multiplications())


@given(data=st.data(), case=factors())
def test_a_tensor_grows_by_its_constant(data, case):
    """s * broadcast(c * x) == broadcast((s * c) * x), where s has axes that c * x lacks or has with length 1."""
    made = evaluate(case.node, case.inputs)[0]
    longer = tuple(data.draw(st.sampled_from([n, 3])) if n == 1 else n for n in made.shape)
    shape = (*data.draw(values.SHAPES.filter(lambda more: len(more) < 3)), *longer)
    scale = values.numbers(shape, data.draw(values.SEEDS))
    moved = pull(case.node, {0: Widening(scale, np.zeros((1,) * scale.ndim))})
    assert isinstance(moved, Moved)
    bound = np.abs(scale) * evaluate(absolute(case.node), {index: np.abs(x) for index, x in case.inputs.items()})[0]
    found = evaluate(moved.meaning, case.inputs)[0]
    assert_same(np.broadcast_to(found, bound.shape), scale * made, bound)


@pytest.mark.parametrize("node", [Commuting(0), AffineMap(Affine(np.ones(()), np.ones(())), Form.SHIFT)])
def test_only_a_multiplication_makes_a_tensor_grow(node):
    answer = pull(node, {0: Widening(np.array([[1.0, 2.0]]), np.zeros((1, 1)))})
    assert_refused(answer, Reason.WRONG_AXIS, "the map varies along axis 1, on which a branch is repeated")


@pytest.mark.parametrize(
    ("constant", "scale", "reason"),
    [
        (np.array([[np.inf, 1.0]]), np.ones((1, 1)), Reason.NOT_FINITE),
        (np.array([[1e300, 1.0]]), np.full((1, 1), 1e300), Reason.OVERFLOW),
        (np.ones((1, 2)), np.arange(3.0).reshape(3, 1), Reason.PARAMETER_GROWS),
    ],
)
def test_what_the_constant_cannot_take(constant, scale, reason):
    assert pull(BroadcastScale(constant), {0: scale_alone(scale)}).reason is reason
