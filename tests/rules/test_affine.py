"""The algebra of affine maps themselves."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bnfold.affine import Affine, PerChannel, identity, per_channel
from tests.rules import values
from tests.rules.evaluate import absolute, apply
from tests.rules.laws import assert_same

SHAPES = st.lists(values.LENGTHS, max_size=4).map(tuple)


def maps_and_tensor(data, count):
    shape = data.draw(SHAPES)
    return [data.draw(values.maps_of(shape)) for _ in range(count)], data.draw(values.arrays(*shape))


@given(data=st.data())
def test_then_applies_the_first_map_first(data):
    (first, second), x = maps_and_tensor(data, 2)
    bound = apply(absolute(second), apply(absolute(first), np.abs(x)))
    assert_same(apply(second, apply(first, x)), apply(first.then(second), x), bound)


@given(data=st.data())
def test_then_is_associative(data):
    (first, second, third), x = maps_and_tensor(data, 3)
    left, right = first.then(second).then(third), first.then(second.then(third))
    bound = apply(absolute(third), apply(absolute(second), apply(absolute(first), np.abs(x))))
    assert_same(apply(left, x), apply(right, x), bound)


@given(data=st.data())
def test_the_identity_is_neutral(data):
    (affine,), x = maps_and_tensor(data, 1)
    same = identity(x.ndim)
    assert same.is_identity
    for composed in (same.then(affine), affine.then(same)):
        assert np.array_equal(apply(composed, x), apply(affine, x))
    assert np.array_equal(apply(same, x), x)


@given(data=st.data())
def test_scale_and_shift_are_seen_exactly(data):
    (affine,), x = maps_and_tensor(data, 1)
    zero, one = np.zeros_like(x), np.ones_like(x)
    moved_zero, moved_one = apply(affine, zero), apply(affine.scale_alone(), one)
    assert affine.has_shift == bool((moved_zero != 0).any())
    assert affine.has_scale == bool((moved_one != 1).any())
    assert affine.is_identity == (not affine.has_scale and not affine.has_shift)


@given(data=st.data())
def test_along_gives_the_same_map_or_none(data):
    shape = data.draw(SHAPES.filter(len))
    affine, x = data.draw(values.maps_of(shape)), data.draw(values.arrays(*shape))
    axis = data.draw(st.integers(0, x.ndim - 1))
    vectors = affine.along(axis)
    assert (vectors is None) == (not set(affine.varying_axes) <= {axis})
    if vectors is not None:
        assert vectors.fits(shape[axis])
        assert np.array_equal(apply(vectors.on_axis(x.ndim, axis), x), apply(affine, x))


@given(data=st.data())
def test_along_inverts_on_axis(data):
    rank = data.draw(st.integers(1, 5))
    axis, channels = data.draw(st.integers(0, rank - 1)), data.draw(values.LENGTHS)
    scale, shift = data.draw(values.arrays(channels)), data.draw(values.arrays(1))
    back = PerChannel(scale, shift).on_axis(rank, axis).along(axis)
    assert np.array_equal(back.scale, scale)
    assert np.array_equal(back.shift, shift)


@given(data=st.data())
def test_varying_axes_are_those_where_a_slice_differs(data):
    (affine,), x = maps_and_tensor(data, 1)
    scale, shift = np.broadcast_to(affine.scale, x.shape), np.broadcast_to(affine.shift, x.shape)
    expected = [
        axis
        for axis in range(x.ndim)
        if any((np.moveaxis(part, axis, 0) != np.moveaxis(part, axis, 0)[0]).any() for part in (scale, shift))
    ]
    assert list(affine.varying_axes) == expected


@given(data=st.data(), rank=st.integers(1, 5), channels=values.LENGTHS)
def test_per_channel_acts_on_its_axis(data, rank, channels):
    axis = data.draw(st.integers(0, rank - 1))
    scale, shift = data.draw(values.arrays(channels)), data.draw(values.arrays(channels))
    x = data.draw(values.tensors(rank, channels, axis))
    y = apply(per_channel(scale, shift, rank=rank, axis=axis), x)
    for channel in range(channels):
        expected = scale[channel] * np.take(x, channel, axis=axis) + shift[channel]
        assert np.array_equal(np.take(y, channel, axis=axis), expected)


def test_per_channel_takes_numbers_and_the_channel_axis_of_onnx_by_default():
    affine = per_channel([2.0, 3.0], 1.0, rank=4)
    assert affine.scale.shape == (1, 2, 1, 1)
    assert affine.shift.shape == (1, 1, 1, 1)


def test_fits():
    vectors = PerChannel(np.ones(4), np.ones(1))
    assert vectors.fits(4)
    assert not vectors.fits(1)
    assert not vectors.fits(3)
    assert not PerChannel(np.ones(4), np.ones(3)).fits(4)


def test_scale_and_shift_need_one_rank():
    with pytest.raises(ValueError, match="scale has rank 1, shift has rank 2: they must agree"):
        Affine(np.ones(3), np.ones((1, 3)))


def test_a_map_of_nothing_varies_nowhere():
    """Tensors without elements are legal; no constant of theirs holds two values."""
    empty = Affine(np.ones((1, 0, 2)), np.zeros((1, 0, 2)))
    assert list(empty.varying_axes) == []
    assert empty.along(1) is not None
