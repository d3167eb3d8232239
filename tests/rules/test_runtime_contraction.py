"""A convolution whose weight is computed at run time."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bnfold.affine import Affine, per_channel
from bnfold.refusal import Reason
from bnfold.rules import pull, push
from bnfold.semantics import RuntimeContraction
from tests.rules import values
from tests.rules.laws import assert_refused

WHY = "'w' is computed by 'm' (Mul)"


def of(bias, channels, weight):
    """A convolution."""
    return RuntimeContraction(bias, channels, 4, 1, weight, 4, 0, WHY)


def convolved(weight, x, bias):
    """A kernel of one place."""
    made = np.einsum("mc,nchw->nmhw", weight[:, :, 0, 0], x)
    return made if bias is None else made + bias.reshape(-1, 1, 1)


@given(data=st.data(), has_bias=st.booleans())
def test_pull_law(data, has_bias):
    x, weight = (
        values.numbers((2, 4, 3, 3), data.draw(values.SEEDS)),
        values.numbers((5, 4, 1, 1), data.draw(values.SEEDS)),
    )
    bias = values.numbers((5,), data.draw(values.SEEDS)) if has_bias else None
    node = of(bias, 5, 1)
    affine = data.draw(values.maps((2, 5, 3, 3), [1]))
    moved = pull(node, {0: affine})
    scale = moved.requirements[1].scale if 1 in moved.requirements else 1.0
    after = node if moved.meaning is None else moved.meaning
    expected = affine.scale * convolved(weight, x, bias) + affine.shift
    size = np.abs(affine.scale) * convolved(np.abs(weight), np.abs(x), None if bias is None else np.abs(bias))
    bound = 1e-12 * (size + np.abs(affine.shift))
    assert np.all(np.abs(convolved(scale * weight, x, after.bias) - expected) <= bound)
    assert after.bias is None or after.bias.shape == (5,)


@given(data=st.data(), has_bias=st.booleans(), transposed=st.booleans())
def test_pull_law_of_a_product(data, has_bias, transposed):
    """Of the last axis, with the outputs on either axis of the weight."""
    x, weight = values.numbers((2, 3, 4), data.draw(values.SEEDS)), values.numbers((4, 5), data.draw(values.SEEDS))
    bias = values.numbers((5,), data.draw(values.SEEDS)) if has_bias else None
    node = RuntimeContraction(bias, 5, 3, 2, 1, 2, 0 if transposed else 1, WHY)
    affine = data.draw(values.maps((2, 3, 5), [2]))
    moved = pull(node, {0: affine})
    scale = moved.requirements[1].scale if 1 in moved.requirements else np.ones((1, 1))
    after = node if moved.meaning is None else moved.meaning
    scaled = (scale * weight.T).T if transposed else scale * weight

    def made(x, weight, bias):
        return x @ weight + (0.0 if bias is None else bias)

    expected = affine.scale * made(x, weight, bias) + affine.shift
    size = made(np.abs(x), np.abs(weight), None if bias is None else np.abs(bias))
    bound = 1e-12 * (np.abs(affine.scale) * size + np.abs(affine.shift))
    assert np.all(np.abs(made(x, scaled, after.bias) - expected) <= bound)


def test_the_reasons():
    shift = per_channel(1.0, np.arange(1.0, 6.0), rank=4)
    scale = per_channel(np.arange(5.0), 0.0, rank=4)
    node = of(None, 5, 1)
    assert_refused(push(node, {0: shift}), Reason.DYNAMIC_WEIGHT, WHY)
    assert_refused(pull(of(None, 5, None), {0: scale}), Reason.DYNAMIC_WEIGHT, WHY)
    assert pull(of(None, 5, None), {0: shift}).requirements == {}
    assert pull(of(None, None, 1), {0: shift}).reason is Reason.UNKNOWN_SHAPE
    assert pull(of(None, 7, 1), {0: shift}).reason is Reason.WRONG_AXIS
    along_rows = Affine(np.ones((1, 1, 1, 1)), np.arange(3.0).reshape(1, 1, 3, 1))
    assert_refused(
        pull(node, {0: along_rows}), Reason.WRONG_AXIS, "the map varies along axis 2, the channels are on axis 1"
    )


@pytest.mark.parametrize("number", [np.nan, np.inf])
def test_a_bias_that_is_no_number(number):
    node = of(np.array([1.0, number]), 2, 1)
    assert pull(node, {0: per_channel(2.0, 1.0, rank=4)}).reason is Reason.NOT_FINITE
    large = of(np.array([1e308, 1.0]), 2, 1)
    assert pull(large, {0: per_channel(1e10, 1.0, rank=4)}).reason is Reason.OVERFLOW
