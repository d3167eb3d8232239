"""Contractions absorb a map in front of them, over the input channels and over nothing else."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bnfold.affine import Affine, identity, per_channel
from bnfold.refusal import Reason
from bnfold.rules import push_past_products
from bnfold.rules.contraction import push_shift_through_contraction as past
from bnfold.semantics import Contraction, NoShift
from bnfold.weight import Weight
from tests.rules import values
from tests.rules.laws import assert_push_law, assert_push_one, assert_refused, pull_one, push_one

CONVOLUTION = Contraction(Weight(np.ones((2, 2, 2, 3))), None, output_rank=3, output_axis=1)
OVERFLOW = "a folded parameter exceeds the largest float64"


def zero_padded(x):
    return np.pad(x, [(0, 0), (0, 0), *[(1, 1)] * (x.ndim - 2)])


@given(data=st.data(), case=values.CONTRACTIONS)
def test_law(data, case):
    node = case.node
    affine = data.draw(values.maps(case.x.shape, [node.input_axis]))
    moved = assert_push_one(case, affine)
    assert moved.choices == ({},)
    assert moved.meaning.weight.shape == node.weight.shape
    assert (moved.meaning.bias is None) == (node.bias is None and not affine.has_shift)
    for field in ("output_rank", "output_axis", "input_axis", "holds_bias", "no_shift", "source"):
        assert getattr(moved.meaning, field) == getattr(node, field)


@given(data=st.data(), case=values.convolutions())
def test_a_scale_passes_zero_padding(data, case):
    node = replace(case.node, no_shift=NoShift("zeros are padded"))
    scale = data.draw(values.maps(case.x.shape, [1])).scale_alone()
    moved = assert_push_one(values.Case(node, case.inputs, zero_padded), scale)
    assert moved.meaning.bias is node.bias


@given(data=st.data(), case=values.CONTRACTIONS)
def test_both_sides_together(data, case):
    """A map in front, absorbed, leaves a node that still absorbs one behind; either order means the same node."""
    node = case.node
    front = data.draw(values.maps(case.x.shape, [node.input_axis]))
    behind = data.draw(values.maps_along(node.output_rank, node.output_axis, node.output_channels)).scale_alone()
    one, other = (
        pull_one(push_one(node, front).meaning, behind).meaning,
        push_one(pull_one(node, behind).meaning, front).meaning,
    )
    np.testing.assert_allclose(one.weight.array, other.weight.array, rtol=1e-13)
    assert (one.bias is None) == (other.bias is None)


@given(case=values.CONTRACTIONS)
def test_the_identity_changes_nothing(case):
    moved = push_one(case.node, identity(case.x.ndim)).meaning
    assert np.array_equal(moved.weight.array, case.node.weight.array)
    assert moved.bias is case.node.bias


def test_groups_keep_their_channels():
    """Group 1 reads input channels 2 and 3, and nothing of it reaches the outputs of group 0."""
    moved = push_one(CONVOLUTION, per_channel([2.0, 3.0, 5.0, 7.0], [0.0, 0.0, 0.0, 1.0], rank=3)).meaning
    assert np.array_equal(moved.weight.array[:, 0, :, 0], [[2.0, 3.0], [5.0, 7.0]])
    assert np.array_equal(moved.bias, [[[0.0], [0.0], [3.0], [3.0]]])


def test_a_shift_does_not_pass_zero_padding():
    node = replace(CONVOLUTION, no_shift=NoShift("zeros are padded, and would be shifted too"))
    expected = "zeros are padded, and would be shifted too; max |shift| 0.75, channel 2"
    for copies in (1, 5):
        affine = Affine(np.ones((1, 1, 1)), np.tile(np.array([0.5, 0.0, -0.75, 0.0]).reshape(1, 4, 1), (1, 1, copies)))
        assert_refused(push_one(node, affine), Reason.SHIFT_CANNOT_PASS, expected)


@pytest.mark.parametrize("part", ["scale", "shift"])
@pytest.mark.parametrize("axis", [0, 2])
def test_wrong_axis(part, axis):
    affine = per_channel(**{"scale": 1.0, "shift": 0.0, part: [1.0, 1.0, 2.0]}, rank=3, axis=axis)
    expected = f"the map varies along axis {axis}, the input channels are on axis 1"
    assert_refused(push_one(CONVOLUTION, affine), Reason.WRONG_AXIS, expected)


def test_wrong_axis_although_the_lengths_agree():
    """x @ W with x of (batch, 2, 2): the rows are no input channels."""
    node = Contraction(Weight(np.ones((1, 4, 2))), None, output_rank=3, output_axis=2, input_axis=2, holds_bias=False)
    expected = "the map varies along axis 1, the input channels are on axis 2"
    assert_refused(push_one(node, per_channel([1.0, 2.0], 0.0, rank=3, axis=1)), Reason.WRONG_AXIS, expected)


@pytest.mark.parametrize("shift", [0.0, np.arange(3.0)], ids=["one shift", "three shifts"])
def test_another_number_of_channels(shift):
    expected = "the map has 3 channels, the operator has 4 input channels"
    assert_refused(push_one(CONVOLUTION, per_channel(np.arange(3.0), shift, rank=3)), Reason.MALFORMED, expected)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("where", ["weight", "bias"])
@pytest.mark.parametrize("scale", [0.0, 1.0])
def test_not_finite(bad, where, scale):
    parameters = {"weight": np.ones((1, 2, 1, 3)), "bias": np.ones((1, 2, 1))}
    parameters[where][0, 1, 0] = bad
    node = Contraction(Weight(parameters["weight"]), parameters["bias"], output_rank=3, output_axis=1)
    expected = "the weight or the bias holds NaN or infinity before anything is folded"
    assert_refused(push_one(node, per_channel(scale, 0.0, rank=3)), Reason.NOT_FINITE, expected)


@pytest.mark.parametrize("move", [pull_one, push_one], ids=["pull", "push"])
@pytest.mark.parametrize("part", ["scale", "shift"])
def test_overflow(move, part):
    """Refused without a warning: an overflow here is expected, and dealt with."""
    node = replace(CONVOLUTION, weight=Weight(np.full((2, 2, 2, 3), 1e200)), bias=np.full((1, 4, 1), 1.6e308))
    affine = per_channel(**{"scale": 1.0, "shift": 0.0, part: 1.6e308}, rank=3)
    assert_refused(move(node, affine), Reason.OVERFLOW, OVERFLOW)


@given(data=st.data(), case=values.CONTRACTIONS)
def test_a_shift_acts_behind_instead(data, case):
    shift = data.draw(values.maps(case.x.shape, [case.node.input_axis])).shift_alone()
    moved = assert_push_law(case, {case.node.source: shift}, lambda node, maps: past(node, maps[node.source]))
    assert moved.meaning is None
    assert not moved.requirements[0].has_scale


def test_only_what_has_no_room_for_a_bias_lets_it_pass():
    for holds_bias, bias, passes in ((True, None, False), (False, np.ones((1, 4, 1)), False), (False, None, True)):
        node = replace(CONVOLUTION, holds_bias=holds_bias, bias=bias)
        moved = push_past_products(node, {0: per_channel(1.0, [1.0, 0.0, 2.0, 0.0], rank=3)})
        assert (moved.meaning is None) is passes
        assert bool(moved.requirements) is passes


def test_a_scale_goes_into_the_weight_and_not_behind():
    answer = past(CONVOLUTION, per_channel([2.0, 1.0, 1.0, 1.0], 0.0, rank=3))
    assert_refused(answer, Reason.NOT_LINEAR, "a scale in front of a product goes into its weight, not behind it")


def test_a_shift_that_cannot_be_absorbed_does_not_pass_either():
    node = replace(CONVOLUTION, no_shift=NoShift("zeros are padded"))
    answer = past(node, per_channel(1.0, [1.0, 2.0, 3.0, 4.0], rank=3))
    assert_refused(answer, Reason.SHIFT_CANNOT_PASS, "zeros are padded; max |shift| 4, channel 3")
