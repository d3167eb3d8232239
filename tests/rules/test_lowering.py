"""What an affine map is rewritten into computes what the map does."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from bnfold.affine import Affine, per_channel
from bnfold.rules import lower_to_addition, lower_to_arithmetic, lower_to_convolution
from bnfold.semantics import AffineMap, Form, Statistics
from tests.rules import slide, values
from tests.rules.evaluate import apply
from tests.rules.laws import assert_same


def batch_norm(affine):
    return AffineMap(affine, Form.SCALE_AND_SHIFT, channel_axis=1, statistics=Statistics(np.zeros(1), np.ones(1), 0.0))


@given(data=st.data(), axes=st.integers(1, 3), channels=st.integers(1, 5))
def test_a_convolution(data, axes, channels):
    affine = data.draw(values.maps_along(axes + 2, 1, channels))
    # As BatchNorms have it: one number per channel, however many of them are alike.
    affine = Affine(*(np.broadcast_to(part, (1, channels, *(1,) * axes)) for part in (affine.scale, affine.shift)))
    x = data.draw(slide.inputs(channels, axes))

    node = lower_to_convolution(batch_norm(affine))

    assert node.weight.shape == (channels, 1, 1, *(1,) * axes)
    assert node.bias.shape == (1, channels, *(1,) * axes)
    bound = np.abs(affine.scale * x) + np.abs(affine.shift)
    assert_same(apply(affine, x), slide.slide(node, x), bound)


@given(data=st.data(), rank=st.integers(2, 4), channels=st.integers(1, 4))
def test_a_product_and_a_sum(data, rank, channels):
    affine = data.draw(values.maps_along(rank, 1, channels))
    x = data.draw(values.tensors(rank, channels, 1))

    parts = lower_to_arithmetic(batch_norm(affine))

    y = x
    for part in parts:
        y = apply(part.affine, y)
        assert part.affine.has_scale == (part.form is Form.SCALE) or part.affine.is_identity
        assert (part.channel_axis, part.statistics) == (None, None)
    assert_same(apply(affine, x), y, np.abs(affine.scale * x) + np.abs(affine.shift))
    forms = [part.form for part in parts]
    assert forms in ([Form.SCALE], [Form.SHIFT], [Form.SCALE, Form.SHIFT])
    assert (Form.SHIFT in forms) == affine.has_shift


@given(seed=st.integers(0, 10_000), channels=st.integers(1, 5), dead=st.booleans())
def test_an_addition_between_two_maps(seed, channels, dead):
    """n(x' + u) == y for x = m(x'), whatever part of the scale is on either side."""
    random = np.random.default_rng(seed)
    scale = random.uniform(0.25, 4, channels) * random.choice([-1.0, 1.0], channels)
    scale[0] *= not dead
    shift = random.normal(size=channels)
    on_x = random.choice([0.25, -2.0, 1.0], channels)
    affine, before = per_channel(scale, shift, rank=3), per_channel(on_x, random.normal(size=channels), rank=3)
    behind = per_channel(scale * on_x, np.where(scale == 0, shift, random.normal(size=channels)), rank=3)
    x = random.normal(size=(2, channels, 3))

    node = lower_to_addition(batch_norm(affine), before, behind)

    assert node.form is Form.SHIFT
    assert not node.affine.has_scale
    left, right = apply(affine, apply(before, x)), apply(behind, apply(node.affine, x))
    np.testing.assert_allclose(left, right, rtol=1e-12, atol=1e-12)
