"""Contractions with an activation and an addend in the same node: what passes both, and what does not."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bnfold.affine import Affine, per_channel
from bnfold.refusal import Reason, Refusal
from bnfold.rules import carry, push
from bnfold.rules.carry import Sides
from bnfold.semantics import Commuting, Contraction, FusedContraction, NoShift, Opaque
from bnfold.weight import Weight
from tests.rules import values
from tests.rules.evaluate import evaluate
from tests.rules.laws import assert_pull_one, assert_push_law, assert_refused, pull_one

BENDS = NoShift("it bends at zero")
RELU = Commuting(2, needs_non_negative_scale=True, shift_factor=BENDS)
PRODUCT = Contraction(Weight(np.array([[[1.0, -2.0], [0.5, 3.0]]])), None, output_rank=2, output_axis=1)
ADDEND = 3


def relu(x):
    return np.maximum(x, 0.0)


@st.composite
def fused(draw, activation):
    """A convolution with or without an addend."""
    case = draw(values.convolutions())
    (y,) = evaluate(case.node, case.inputs)
    inputs = dict(case.inputs)
    if draw(st.booleans()):
        inputs[ADDEND] = values.numbers(y.shape, draw(values.SEEDS))
    f = Commuting(y.ndim, needs_non_negative_scale=True, shift_factor=BENDS) if activation else None
    node = FusedContraction(case.node, f, ADDEND if ADDEND in inputs else None)
    return values.Case(node, inputs, relu if activation else None), y.shape


@given(data=st.data())
def test_a_map_behind_goes_into_the_weight_and_its_scale_to_the_addend(data):
    case, shape = data.draw(fused(activation=False))
    affine = data.draw(values.maps_along(len(shape), 1, shape[1]))
    moved = assert_pull_one(case, affine)
    assert set(moved.requirements) == ({ADDEND} if ADDEND in case.inputs and affine.has_scale else set())


@given(data=st.data())
def test_a_scale_that_is_not_negative_passes_a_ramp(data):
    case, shape = data.draw(fused(activation=True))
    affine = data.draw(values.maps_along(len(shape), 1, shape[1])).scale_alone()
    assert_pull_one(case, Affine(np.abs(affine.scale), affine.shift))


@given(data=st.data(), activation=st.booleans())
def test_maps_in_front_go_in_whatever_the_activation(data, activation):
    case, shape = data.draw(fused(activation))
    inputs = {0: data.draw(values.maps(case.x.shape, [1]))}
    if ADDEND in case.inputs:
        inputs[ADDEND] = data.draw(values.maps_along(len(shape), 1, shape[1])).shift_alone()
    assert assert_push_law(case, inputs).requirements == {}


@pytest.mark.parametrize(
    ("affine", "reason", "evidence"),
    [
        (
            per_channel([2.0, -3.0], 0.0, rank=2),
            Reason.NEEDS_NON_NEGATIVE_SCALE,
            "scale < 0 in 1 of 2 channels (min -3, channel 1)",
        ),
        (
            per_channel(1.0, [0.5, -4.0], rank=2),
            Reason.SHIFT_CANNOT_PASS,
            "it bends at zero; max |shift| 4, channel 1",
        ),
    ],
)
def test_what_a_ramp_does_not_let_pass(affine, reason, evidence):
    assert_refused(pull_one(FusedContraction(PRODUCT, RELU), affine), reason, evidence)


def test_nothing_passes_other_activations():
    sigmoid = Opaque(Reason.NOT_LINEAR, "the Sigmoid is not linear")
    answer = pull_one(FusedContraction(PRODUCT, sigmoid), per_channel([2.0, 3.0], 0.0, rank=2))
    assert_refused(answer, Reason.NOT_LINEAR, "the Sigmoid is not linear")


def test_a_scale_on_the_addend_alone_is_refused():
    answer = push(FusedContraction(PRODUCT, None, ADDEND), {ADDEND: per_channel([2.0, 3.0], 0.0, rank=2)})
    assert_refused(answer, Reason.OTHER_BRANCH, "what is added in the operator has a scale, and the product has not")


@pytest.mark.parametrize("scale", [[2.0, 3.0], [2.0, -3.0]])
@pytest.mark.parametrize("addend", [None, ADDEND])
@pytest.mark.parametrize("activation", [None, RELU])
def test_carried_maps_settle_or_are_refused(activation, addend, scale):
    """A reader applies the map: the node has to make what comes before it."""
    node, affine = FusedContraction(PRODUCT, activation, addend), per_channel(scale, 0.0, rank=2)
    sides = Sides(inputs={0: affine}, outputs={0: affine})
    (more,) = carry.spread(node, Sides(outputs={0: affine}))
    assert not more.inputs
    assert not more.outputs
    after = carry.settle(node, sides)
    if addend is not None or (activation is not None and min(scale) < 0):
        assert isinstance(after, Refusal)
        return
    x, core = np.array([[1.0, 2.0], [-3.0, 0.5]]), None if activation is None else relu
    (old,) = evaluate(node, {0: affine.scale * x}, core)
    (new,) = evaluate(after, {0: x}, core)
    np.testing.assert_allclose(affine.scale * new, old, rtol=1e-14)
