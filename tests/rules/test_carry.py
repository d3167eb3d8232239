"""Maps on several sides of one node: whatever `spread` asks for, `settle` gives a node that lives with it."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bnfold.affine import Affine, identity, per_channel
from bnfold.rearrange import Transposition
from bnfold.refusal import Reason, Refusal
from bnfold.rules.carry import Sides, agree, settle, spread
from bnfold.semantics import (
    AffineMap,
    Commuting,
    Concatenation,
    Contraction,
    Form,
    NoShift,
    Opaque,
    Operand,
    Padding,
    Product,
    Rearrangement,
    Split,
    Sum,
)
from bnfold.weight import Weight
from tests.rules.evaluate import apply, evaluate

CHANNELS = 4
SHAPE = (2, CHANNELS, 3)
SEEDS = st.integers(0, 10_000)


def relu(x):
    return np.maximum(x, 0.0)


def affine_map(form, random):
    scale, shift = random.uniform(0.5, 2, CHANNELS), random.normal(size=CHANNELS)
    if form is Form.SCALE:
        shift = np.zeros(CHANNELS)
    if form is Form.SHIFT:
        scale = random.choice([-1.0, 1.0]) * np.ones(CHANNELS)
    return AffineMap(per_channel(scale, shift, rank=3), form)


def contraction(random):
    """Of rank 2: x W^T + b over the last axis."""
    weight = random.normal(size=(1, 3, CHANNELS))
    return Contraction(Weight(weight), random.normal(size=(1, 3)), output_rank=2, output_axis=1, input_axis=1)


def operands(count, random):
    return tuple(Operand(SHAPE, 3, random.choice([-1.0, 1.0])) for _ in range(count))


NODES = {
    "batch norm": lambda r: (affine_map(Form.SCALE_AND_SHIFT, r), [SHAPE], None),
    "mul": lambda r: (affine_map(Form.SCALE, r), [SHAPE], None),
    "add": lambda r: (affine_map(Form.SHIFT, r), [SHAPE], None),
    "linear": lambda r: (contraction(r), [(2, CHANNELS)], None),
    "relu": lambda _: (
        Commuting(3, needs_non_negative_scale=True, shift_factor=NoShift("it bends"), of_constants=relu),
        [SHAPE],
        relu,
    ),
    "neg": lambda _: (Commuting(3, shift_factor=-1.0), [SHAPE], np.negative),
    "transpose": lambda _: (Rearrangement((Transposition((0, 2, 1)),)), [SHAPE], None),
    "concat": lambda _: (Concatenation(1, 3, (CHANNELS, CHANNELS)), [SHAPE, SHAPE], None),
    "split": lambda _: (Split(1, 3, ((0, 1), (1, CHANNELS)), CHANNELS), [SHAPE], None),
    "sum": lambda r: (Sum(operands(3, r), 3), [SHAPE] * 3, None),
    "product": lambda _: (Product((Operand(SHAPE, 3), Operand(SHAPE, 3)), 3), [SHAPE] * 2, None),
}


def a_map(shape, random, *, positive, shifted):
    """Over axis 1 of a tensor of this shape."""
    scale = random.uniform(0.25, 4, shape[1]) * (1 if positive else random.choice([-1.0, 1.0], shape[1]))
    shift = random.normal(size=shape[1]) if shifted else np.zeros(shape[1])
    return per_channel(scale, shift, rank=len(shape))


def assert_lives_with(node, sides, inputs, core):
    """outputs(new(x)) == old(inputs(x))"""
    after = settle(node, sides)
    assert not isinstance(after, Refusal), after
    after = node if after is None else after
    old = evaluate(node, {i: apply(sides.inputs[i], x) if i in sides.inputs else x for i, x in inputs.items()}, core)
    new = evaluate(after, inputs, core)
    for index, (left, right) in enumerate(zip(old, new, strict=True)):
        expected = apply(sides.outputs[index], right) if index in sides.outputs else right
        np.testing.assert_allclose(left, expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("kind", NODES)
@pytest.mark.parametrize("behind", [False, True], ids=["in front", "behind"])
@given(seed=SEEDS, positive=st.booleans(), shifted=st.booleans())
def test_a_map_on_one_side(kind, behind, seed, positive, shifted):
    random = np.random.default_rng(seed)
    node, shapes, core = NODES[kind](random)
    inputs = {index: random.normal(size=shape) * 3 for index, shape in enumerate(shapes)}
    made = evaluate(node, inputs, core)
    side = int(random.integers(len(made) if behind else len(shapes)))
    shape = made[side].shape if behind else shapes[side]
    affine = a_map(shape, random, positive=positive, shifted=shifted)
    known = Sides(outputs={side: affine}) if behind else Sides(inputs={side: affine})
    choices = spread(node, known)
    if isinstance(choices, Refusal):
        assert (kind == "relu" and (shifted or not positive)) or (kind == "product" and shifted), choices
        return
    for choice in choices:
        sides = Sides({**known.inputs, **choice.inputs}, {**known.outputs, **choice.outputs})
        assert_lives_with(node, sides, inputs, core)


@given(seed=SEEDS)
def test_an_absorber_takes_maps_on_both_sides(seed):
    random = np.random.default_rng(seed)
    node = contraction(random)
    sides = Sides(
        {0: a_map((2, CHANNELS), random, positive=False, shifted=True)},
        {0: a_map((2, 3), random, positive=False, shifted=True)},
    )
    assert_lives_with(node, sides, {0: random.normal(size=(2, CHANNELS))}, None)


@given(seed=SEEDS)
def test_an_absorber_reads_a_constant_channel(seed):
    """A scale of 0 in front is no hindrance: the channel's value goes into the bias."""
    random = np.random.default_rng(seed)
    node = contraction(random)
    constant = per_channel([0.0, 1.0, -2.0, 0.5], [3.0, 0.0, 1.0, 0.0], rank=2)
    assert_lives_with(node, Sides({0: constant}), {0: random.normal(size=(2, CHANNELS))}, None)


def test_a_constant_channel_passes_a_ramp():
    node, _, core = NODES["relu"](None)
    constant = per_channel([0.0, 0.0, 2.0, 1.0], [3.0, -3.0, 0.0, 0.0], rank=3)
    (choice,) = spread(node, Sides({0: constant}))
    assert choice.outputs[0].shift.reshape(-1).tolist() == [3.0, 0.0, 0.0, 0.0]
    x = np.random.default_rng(0).normal(size=SHAPE)
    assert_lives_with(node, Sides({0: constant}, choice.outputs), {0: x}, core)


def test_a_constant_channel_behind_a_contraction_cannot_be_undone():
    node = contraction(np.random.default_rng(0))
    answer = settle(node, Sides(outputs={0: per_channel([0.0, 1.0, 1.0], 0.0, rank=2)}))
    assert isinstance(answer, Refusal)
    assert answer.reason is Reason.ZERO_SCALE
    assert answer.evidence == "scale 0 in 1 of 3 channels (the first is channel 0)"


def test_two_scales_at_a_sum():
    node = Sum(operands(2, np.random.default_rng(0)), 3)
    one, other = per_channel([1.0, 2.0, 2.0, 2.0], 0.0, rank=3), per_channel(2.0, 0.0, rank=3)
    answer = spread(node, Sides({0: one, 1: other}))
    assert isinstance(answer, Refusal)
    assert answer.reason is Reason.OTHER_BRANCH
    assert "differ by 1" in answer.evidence


@pytest.mark.parametrize("kind", ["relu", "transpose", "concat", "split", "sum", "product", "mul", "add"])
def test_a_map_that_nothing_answers_is_not_settled(kind):
    """An output that changes although no input does, or the other way round, is no plan."""
    random = np.random.default_rng(1)
    node, _, _ = NODES[kind](random)
    affine = per_channel(2.0, 0.0, rank=3)
    answer = settle(node, Sides(outputs={0: affine}))
    if kind == "mul":
        assert isinstance(answer, AffineMap)  # it takes the scale itself
    else:
        assert isinstance(answer, Refusal)
        assert answer.reason in {Reason.CYCLE, Reason.OTHER_BRANCH}


def test_what_is_not_understood_has_no_maps():
    node = Opaque(Reason.UNKNOWN_OPERATOR, "what it is")
    for answer in (spread(node, Sides({0: identity(3)})), settle(node, Sides({0: identity(3)}))):
        assert isinstance(answer, Refusal)
        assert answer.reason is Reason.UNKNOWN_OPERATOR


@given(seed=SEEDS)
def test_the_inverse_undoes_a_map(seed):
    random = np.random.default_rng(seed)
    affine = a_map(SHAPE, random, positive=False, shifted=True)
    x = random.normal(size=SHAPE)
    np.testing.assert_allclose(apply(affine.inverse(), apply(affine, x)), x, rtol=1e-12, atol=1e-12)
    assert agree(affine.then(affine.inverse()), identity(3)) or np.allclose(affine.then(affine.inverse()).shift, 0)


def test_maps_that_have_no_inverse():
    zero = Affine(np.array([[0.0, 1.0]]), np.zeros((1, 2))).inverse()
    assert isinstance(zero, Refusal)
    assert zero.reason is Reason.ZERO_SCALE
    tiny = Affine(np.array([[1e-320]]), np.ones((1, 1))).inverse()
    assert isinstance(tiny, Refusal)
    assert tiny.reason is Reason.OVERFLOW


@given(seed=SEEDS, scale=st.sampled_from([0.5, -2.0, 3.0]), shift=st.sampled_from([0.0, 1.5, -0.25]))
def test_padding_holds_a_number_that_takes_the_map(seed, scale, shift):
    node = Padding(rank=3, axes=(2,), value=1.5)
    uniform = per_channel(scale, shift, rank=3)
    (choice,) = spread(node, Sides({0: uniform}))
    x = np.random.default_rng(seed).normal(size=SHAPE)

    def padded(values, number):
        return np.pad(values, ((0, 0), (0, 0), (1, 2)), constant_values=number)

    after = settle(node, Sides({0: uniform}, choice.outputs))
    assert isinstance(after, Padding)
    old, new = padded(apply(uniform, x), node.value), padded(x, after.value)
    np.testing.assert_allclose(old, apply(choice.outputs[0], new), rtol=1e-12)
