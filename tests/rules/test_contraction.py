"""Contractions absorb a map behind them, over the output channels and over nothing else."""

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from bnfold.affine import Affine, identity, per_channel
from bnfold.refusal import Reason
from bnfold.semantics import Contraction
from bnfold.weight import Weight
from tests.rules import values
from tests.rules.laws import assert_pull_one, assert_refused, pull_one


@given(data=st.data(), case=values.CONTRACTIONS)
def test_law(data, case):
    node = case.node
    affine = data.draw(values.maps_along(node.output_rank, node.output_axis, node.output_channels))
    moved = assert_pull_one(case, affine)
    assert moved.requirements == {}
    assert moved.meaning.weight.shape == node.weight.shape
    for field in ("output_rank", "output_axis", "input_axis", "holds_bias", "no_shift", "source"):
        assert getattr(moved.meaning, field) == getattr(node, field)


@given(data=st.data(), case=values.CONTRACTIONS)
def test_a_map_stored_with_more_dimensions_than_it_varies_along(data, case):
    """Exporters write constants of full shape; what counts is where the values differ."""
    node = case.node
    affine = data.draw(values.maps_along(node.output_rank, node.output_axis, node.output_channels))
    copies = [3] * node.output_rank
    copies[node.output_axis] = 1
    stored = Affine(np.tile(affine.scale, copies), np.tile(affine.shift, copies))
    plain, repeated = pull_one(node, affine).meaning, pull_one(node, stored).meaning
    assert np.array_equal(plain.weight.array, repeated.weight.array)
    assert (plain.bias is None) == (repeated.bias is None)
    assert plain.bias is None or np.array_equal(plain.bias, repeated.bias)


@given(data=st.data(), case=values.CONTRACTIONS)
def test_a_scale_alone_makes_no_bias(data, case):
    node = case.node
    assume(node.bias is None)
    affine = data.draw(values.maps_along(node.output_rank, node.output_axis, node.output_channels))
    assert assert_pull_one(case, affine.scale_alone()).meaning.bias is None


@given(case=values.CONTRACTIONS)
def test_the_identity_changes_nothing(case):
    moved = pull_one(case.node, identity(case.node.output_rank)).meaning
    assert np.array_equal(moved.weight.array, case.node.weight.array)
    assert (moved.bias is None) == (case.node.bias is None)
    assert moved.bias is None or np.array_equal(moved.bias, case.node.bias)


@given(data=st.data(), case=values.CONTRACTIONS)
def test_wrong_axis(data, case):
    node = case.node
    others = [axis for axis in range(node.output_rank) if axis != node.output_axis]
    assume(others)
    axis = data.draw(st.sampled_from(others))
    vector, rest = np.array([1.0, 1.0, 2.0]), data.draw(values.NUMBERS)
    shift_varies = data.draw(st.booleans())
    affine = per_channel(*((rest, vector) if shift_varies else (vector, rest)), rank=node.output_rank, axis=axis)
    expected = f"the map varies along axis {axis}, the output channels are on axis {node.output_axis}"
    assert_refused(pull_one(node, affine), Reason.WRONG_AXIS, expected)


def test_wrong_axis_although_the_lengths_agree():
    """MatMul of rank 3 with as many rows as columns: a BatchNorm there is over the rows."""
    node = Contraction(Weight(np.ones((1, 4, 2))), None, output_rank=3, output_axis=2, holds_bias=False)
    affine = per_channel(np.arange(4.0), 0.0, rank=3, axis=1)
    expected = "the map varies along axis 1, the output channels are on axis 2"
    assert_refused(pull_one(node, affine), Reason.WRONG_AXIS, expected)


def test_wrong_axes_are_all_named():
    node = Contraction(Weight(np.ones((1, 4, 2, 3))), None, output_rank=3, output_axis=1)
    affine = Affine(np.arange(8.0).reshape(2, 4, 1), np.arange(5.0).reshape(1, 1, 5))
    expected = "the map varies along axis 0, 1, 2, the output channels are on axis 1"
    assert_refused(pull_one(node, affine), Reason.WRONG_AXIS, expected)


@pytest.mark.parametrize("shift", [0.0, np.arange(3.0)], ids=["one shift", "three shifts"])
def test_another_number_of_channels(shift):
    node = Contraction(Weight(np.ones((2, 2, 1, 3))), None, output_rank=3, output_axis=1)
    affine = per_channel(np.arange(3.0), shift, rank=3)
    assert_refused(
        pull_one(node, affine), Reason.MALFORMED, "the map has 3 channels, the operator has 4 output channels"
    )


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("where", ["weight", "bias"])
@pytest.mark.parametrize("scale", [0.0, 1.0])
def test_not_finite(bad, where, scale):
    parameters = {"weight": np.ones((1, 2, 1, 3)), "bias": np.ones((1, 2, 1))}
    parameters[where][0, 1, 0] = bad
    node = Contraction(Weight(parameters["weight"]), parameters["bias"], output_rank=3, output_axis=1)
    expected = "the weight or the bias holds NaN or infinity before anything is folded"
    assert_refused(pull_one(node, per_channel(scale, 0.0, rank=3)), Reason.NOT_FINITE, expected)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("where", ["scale", "shift"])
def test_a_map_that_is_not_finite_is_not_rounded_to_something_finite(bad, where):
    node = Contraction(Weight(np.ones((1, 2, 1, 3))), np.ones((1, 2, 1)), output_rank=3, output_axis=1)
    parts = {"scale": np.ones(2), "shift": np.ones(2)}
    parts[where][1] = bad
    expected = "a folded parameter exceeds the largest float64"
    assert_refused(pull_one(node, per_channel(**parts, rank=3)), Reason.OVERFLOW, expected)


@given(data=st.data(), case=values.CONTRACTIONS)
def test_the_node_and_the_map_are_left_alone(data, case):
    node = case.node
    affine = data.draw(values.maps_along(node.output_rank, node.output_axis, node.output_channels))
    before = [array.copy() for array in (node.weight.array, affine.scale, affine.shift)]
    pull_one(node, affine)
    after = (node.weight.array, affine.scale, affine.shift)
    assert all(np.array_equal(old, new) for old, new in zip(before, after, strict=True))
