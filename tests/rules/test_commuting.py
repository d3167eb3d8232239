"""Activations, pooling, padding, resampling, reductions: maps pass on both sides, or are refused with a true reason."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.lib.stride_tricks import sliding_window_view

from bnfold.affine import Affine, per_channel
from bnfold.refusal import Reason, Refusal
from bnfold.semantics import Commuting, NoShift
from tests.rules import values
from tests.rules.laws import assert_pull_one, assert_push_one, assert_refused, pull_one, push_one

BOTH_MOVES = pytest.mark.parametrize("move", [pull_one, push_one], ids=["pull", "push"])


@dataclass(frozen=True)
class Operator:
    """A concrete function along some axes, what it is said to be, and its bound if it is not the function itself.

    mixes: values along the axes. ramp: needs a scale >= 0. factor: of the shift, for so many places on the axes.
    reduces: takes keepdims.
    """

    function: Any
    bounding: Any = None
    mixes: bool = True
    ramp: bool = False
    factor: Any = lambda _count: 1.0
    reduces: bool = False


BENDS = NoShift("it bends at zero")


def no_shift(_count):
    return BENDS


def pointwise(function, bounding=None, **how):
    """An operator on every place by itself."""
    return Operator(lambda x, _axes: function(x), bounding and (lambda x, _axes: bounding(x)), mixes=False, **how)


def padded(x, axes, before, after, **how):
    """x with more places before and after those that it has on these axes."""
    return np.pad(x, [(before, after) if axis in axes else (0, 0) for axis in range(x.ndim)], **how) if axes else x


def windows(function, x, axes):
    """A function of windows of 2, stride 1, over the axes that have so many places."""
    long = tuple(axis for axis in axes if x.shape[axis] > 1)
    view = sliding_window_view(x, (2,) * len(long), axis=long) if long else x
    return function(view, axis=tuple(range(x.ndim, view.ndim)))


def padded_windows(function, x, axes, padding):
    """The same over x with one more value on either side."""
    return windows(function, padded(x, axes, 1, 1, constant_values=padding), axes)


def average_of_what_is_there(x, axes):
    """AveragePool that does not count the padding."""
    counted = padded_windows(np.mean, np.ones_like(x), axes, 0.0)
    return padded_windows(np.mean, x, axes, 0.0) / counted


def interpolated(x, axes):
    """Each axis resampled to five places, linearly."""
    for axis in axes:
        places = np.linspace(0, x.shape[axis] - 1, 5)
        below = np.floor(places).astype(int)
        above = np.minimum(below + 1, x.shape[axis] - 1)
        weight = (places - below).reshape([-1 if other == axis else 1 for other in range(x.ndim)])
        x = np.take(x, below, axis) * (1 - weight) + np.take(x, above, axis) * weight
    return x


def nearest(x, axes):
    for axis in axes:
        x = np.repeat(x, 2, axis)
    return x


def summed_up(x, axes):
    for axis in axes:
        x = np.cumsum(x, axis)
    return x


def maximum_bound(x, axes, keepdims=True):
    return np.max(x, axes, keepdims=keepdims)


OPERATORS = {
    "Identity": pointwise(lambda x: x),
    "Relu": pointwise(lambda x: np.maximum(x, 0), ramp=True, factor=no_shift),
    "LeakyRelu": pointwise(lambda x: np.where(x < 0, x / 8, x), ramp=True, factor=no_shift),
    "PRelu": pointwise(lambda x: np.where(x < 0, -3 * x, x), lambda x: 3 * x, ramp=True, factor=no_shift),
    "Abs": pointwise(np.abs, ramp=True, factor=no_shift),
    "Neg": pointwise(lambda x: -x, factor=lambda _count: -1.0),
    "ReduceMean": Operator(np.mean, reduces=True),
    "ReduceMax": Operator(np.max, ramp=True, reduces=True),
    "ReduceMin": Operator(np.min, maximum_bound, ramp=True, reduces=True),
    "ReduceSum": Operator(np.sum, factor=float, reduces=True),
    "CumSum": Operator(summed_up, factor=no_shift),
    "AveragePool": Operator(lambda x, axes: windows(np.mean, x, axes)),
    "AveragePool that counts the padding": Operator(
        lambda x, axes: padded_windows(np.mean, x, axes, 0.0), factor=no_shift
    ),
    "AveragePool that leaves the padding out": Operator(average_of_what_is_there),
    "MaxPool": Operator(lambda x, axes: windows(np.max, x, axes), ramp=True),
    "MaxPool with padding": Operator(
        lambda x, axes: padded_windows(np.max, x, axes, -np.inf),
        lambda x, axes: padded_windows(np.max, x, axes, 0.0),
        ramp=True,
    ),
    "Pad with zeros": Operator(lambda x, axes: padded(x, axes, 2, 1), factor=no_shift),
    "Pad with the edge": Operator(lambda x, axes: padded(x, axes, 2, 1, mode="edge")),
    "Resize linear": Operator(interpolated),
    "Resize nearest": Operator(nearest),
}
EVERY_OPERATOR = pytest.mark.parametrize("operator", OPERATORS.values(), ids=OPERATORS.keys())


@st.composite
def cases(draw, operator):
    """An operator along some axes of some tensor."""
    x = values.numbers(draw(values.SHAPES), draw(values.SEEDS))
    axes = tuple(axis for axis in range(x.ndim) if draw(st.booleans()))
    keepdims = {"keepdims": draw(st.booleans())} if operator.reduces else {}
    source = draw(st.integers(0, 1))
    node = Commuting(
        x.ndim,
        mixed_axes=axes if operator.mixes else (),
        removed_axes=axes if not keepdims.get("keepdims", True) else (),
        needs_non_negative_scale=operator.ramp,
        shift_factor=operator.factor(int(np.prod([x.shape[axis] for axis in axes]))),
        source=source,
    )

    def core(x):
        return operator.function(x, axes, **keepdims)

    def bounding(x):
        return operator.bounding(x, axes, **keepdims)

    return values.Case(node, {source: x}, core, bounding if operator.bounding else None)


def allowed(affine, node):
    """The part of a map that may pass."""
    scale = np.abs(affine.scale) if node.needs_non_negative_scale else affine.scale
    may = Affine(scale, affine.shift)
    return may.scale_alone() if isinstance(node.shift_factor, NoShift) else may


@EVERY_OPERATOR
@given(data=st.data())
def test_pull_law(operator, data):
    case = data.draw(cases(operator))
    y = case.core(case.x)
    kept = [axis for axis in range(case.x.ndim) if axis not in case.node.removed_axes]
    axes = [place for place, axis in enumerate(kept) if axis not in case.node.mixed_axes]
    moved = assert_pull_one(case, allowed(data.draw(values.maps(y.shape, axes)), case.node))
    assert moved.meaning is None
    assert set(moved.requirements) == {case.node.source}


@EVERY_OPERATOR
@given(data=st.data())
def test_push_law(operator, data):
    case = data.draw(cases(operator))
    axes = [axis for axis in range(case.x.ndim) if axis not in case.node.mixed_axes]
    moved = assert_push_one(case, allowed(data.draw(values.maps(case.x.shape, axes)), case.node))
    assert moved.meaning is None
    assert set(moved.requirements) == {0}


@EVERY_OPERATOR
@BOTH_MOVES
@given(data=st.data())
def test_whatever_is_refused_has_a_true_reason(operator, move, data):
    """A map of any kind either obeys the law or meets exactly the condition that the refusal names."""
    case = data.draw(cases(operator))
    node = case.node
    shape = case.core(case.x).shape if move is pull_one else case.x.shape
    kept = [axis for axis in range(node.rank) if move is push_one or axis not in node.removed_axes]
    affine = data.draw(values.maps(shape))
    varied = [kept[axis] for axis in affine.varying_axes if kept[axis] in node.mixed_axes]
    answer = move(node, affine)
    if varied:
        expected = f"the map varies along axis {varied[0]}, along which the operator mixes values"
        assert_refused(answer, Reason.WRONG_AXIS, expected)
    elif node.needs_non_negative_scale and affine.scale.min() < 0:
        assert answer.reason is Reason.NEEDS_NON_NEGATIVE_SCALE
    elif isinstance(node.shift_factor, NoShift) and affine.has_shift:
        assert answer.reason is Reason.SHIFT_CANNOT_PASS
    else:
        assert not isinstance(answer, Refusal)
        (assert_pull_one if move is pull_one else assert_push_one)(case, affine)


@BOTH_MOVES
def test_negative_scales_are_counted(move):
    relu = Commuting(4, needs_non_negative_scale=True, shift_factor=BENDS)
    affine = per_channel([1.0, -0.25, 0.0, -0.5, 2.0], 0.0, rank=4)
    answer = move(relu, affine)
    expected = "scale < 0 in 2 of 5 channels (min -0.5, channel 3)"
    assert_refused(answer, Reason.NEEDS_NON_NEGATIVE_SCALE, expected)
    assert answer.hint == ""  # to move the BatchNorm to the other side would be another network


@BOTH_MOVES
def test_channels_are_counted_and_not_the_copies_that_a_constant_stores_of_them(move):
    pool = Commuting(4, mixed_axes=(2, 3), needs_non_negative_scale=True)
    compact = per_channel([1.0, 2.0, -0.5], 0.0, rank=4)
    stored = Affine(np.tile(compact.scale, (1, 1, 3, 3)), compact.shift)
    expected = "scale < 0 in 1 of 3 channels (min -0.5, channel 2)"
    assert_refused(move(pool, stored), Reason.NEEDS_NON_NEGATIVE_SCALE, expected)


@BOTH_MOVES
def test_the_largest_shift_is_named(move):
    pad = Commuting(4, mixed_axes=(2, 3), shift_factor=NoShift("zeros are padded"))
    affine = per_channel(1.0, [0.0, -0.75, 0.5], rank=4)
    assert_refused(move(pad, affine), Reason.SHIFT_CANNOT_PASS, "zeros are padded; max |shift| 0.75, channel 1")
    stored = Affine(affine.scale, np.tile(affine.shift, (1, 1, 5, 5)))
    assert_refused(move(pad, stored), Reason.SHIFT_CANNOT_PASS, "zeros are padded; max |shift| 0.75, channel 1")


@BOTH_MOVES
def test_a_scale_of_zero_passes_a_ramp(move):
    """Pruned channels; minus zero is zero."""
    relu = Commuting(2, needs_non_negative_scale=True, shift_factor=BENDS)
    (requirement,) = move(relu, per_channel([0.0, -0.0], 0.0, rank=2)).requirements.values()
    assert np.array_equal(requirement.scale, np.zeros((1, 2)))


@BOTH_MOVES
def test_the_law_of_the_sign_is_not_lost_with_the_shift_factor(move):
    """Neg keeps the scale and turns the shift."""
    (requirement,) = move(
        Commuting(2, shift_factor=-1.0), per_channel([-2.0, 3.0], [1.0, 5.0], rank=2)
    ).requirements.values()
    assert np.array_equal(requirement.scale, [[-2.0, 3.0]])
    assert np.array_equal(requirement.shift, [[-1.0, -5.0]])


@BOTH_MOVES
def test_tensors_without_channels_are_legal(move):
    affine = Affine(np.ones((1, 0, 1)), np.zeros((1, 0, 1)))
    for node in (Commuting(3, mixed_axes=(2,)), Commuting(3, needs_non_negative_scale=True, shift_factor=BENDS)):
        (requirement,) = move(node, affine).requirements.values()
        assert requirement.scale.shape == (1, 0, 1)
