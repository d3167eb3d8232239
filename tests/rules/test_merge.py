"""Branches of one tensor that are added up are one operator; a map is one, and so are two in a row."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bnfold.affine import Affine, per_channel
from bnfold.refusal import Reason, Refusal
from bnfold.rules import chain_contractions, merge_branches, read_map_as_contraction
from bnfold.rules.merge import frame_of, multiply_adds, outline_of
from bnfold.semantics import Contraction
from bnfold.weight import Weight
from bnfold.window import Window
from tests.rules import slide, values
from tests.rules.laws import assert_refused, assert_same


def window(*pads, stride=1, dilation=1):
    """pads: (before, behind) of each axis."""
    axes = len(pads)
    before, behind = zip(*pads, strict=True) if pads else ((), ())
    return Window((stride,) * axes, (dilation,) * axes, before, behind, (None,) * axes)


def conv(*shape, pads=None, **geometry):
    axes = len(shape) - 3
    return slide.contraction(np.ones(shape), None, window(*(pads or [(0, 0)] * axes), **geometry))


@given(data=st.data(), axes=st.integers(1, 3), channels=st.integers(1, 6), outputs=st.integers(1, 6))
def test_law(data, axes, channels, outputs):
    x = data.draw(slide.inputs(channels, axes))
    branches = data.draw(slide.aligned_branches(x, outputs, data.draw(st.integers(2, 3))))
    merged = merge_branches(branches)
    assert isinstance(merged, Contraction), merged
    frame = frame_of(branches)
    assert frame.weights(branches[0]) == multiply_adds(merged) == merged.weight.size
    assert min((*merged.window.before, *merged.window.behind)) >= 0
    total = sum(slide.slide(branch, x) for branch in branches)
    assert_same(total, slide.slide(merged, x), sum(slide.bound(branch, x) for branch in branches))


@given(data=st.data())
def test_one_branch_stands_for_all_with_its_outline(data):
    """Also for what keeps branches apart: the first that differs is named."""
    shapes = st.sampled_from([(1, 4, 4, 1), (1, 4, 4, 3), (2, 2, 2, 1), (1, 4, 2, 1), (4, 1, 1, 5)])
    pads, dilations = st.tuples(st.integers(0, 2), st.integers(0, 2)), st.integers(1, 2)
    kinds = st.builds(lambda shape, pad, step: conv(*shape, pads=[pad], dilation=step), shapes, pads, dilations)
    branches = data.draw(st.lists(kinds, min_size=1, max_size=6))
    distinct: dict[object, Contraction] = {}
    for branch in branches:
        distinct.setdefault(outline_of(branch), branch)
    assert frame_of(branches) == frame_of(list(distinct.values()))


@given(data=st.data(), axes=st.integers(0, 2), channels=st.integers(1, 6))
def test_a_map_is_a_contraction(data, axes, channels):
    like = replace(conv(1, channels, channels, *(3,) * axes), bias=np.ones((1, channels, *(1,) * axes)))
    x = data.draw(slide.inputs(channels, axes))
    affine = data.draw(values.maps_along(axes + 2, 1, channels))
    node = read_map_as_contraction(affine, like)
    assert isinstance(node, Contraction), node
    assert node.weight.shape == (channels, 1, 1, *(1,) * axes)
    assert_same(affine.scale * x + affine.shift, slide.slide(node, x), np.abs(affine.scale * x) + np.abs(affine.shift))


@given(data=st.data(), groups=st.integers(1, 4), inner=st.integers(1, 3))
def test_the_identity_in_a_grouped_kernel_is_at_its_own_input(data, groups, inner):
    """Index i mod Cin / g on the kernel's axis of inputs, and the kernel's own centre."""
    channels = groups * inner
    x = data.draw(slide.inputs(channels, 2))
    weight = values.numbers((groups, inner, inner, 3, 3), data.draw(values.SEEDS))
    node = slide.contraction(weight, None, window((1, 1), (1, 1)))
    merged = merge_branches([node, read_map_as_contraction(per_channel(1.0, 0.0, rank=4), node)])
    for channel in range(channels):
        kernel = merged.weight.array[channel // inner, channel % inner] - weight[channel // inner, channel % inner]
        assert kernel[channel % inner, 1, 1] == pytest.approx(1.0, rel=1e-12, abs=1e10)
    assert_same(slide.slide(node, x) + x, slide.slide(merged, x), slide.bound(node, x) + np.abs(x))


@given(data=st.data(), axes=st.integers(1, 2))
def test_the_law_of_chains(data, axes):
    channels, middle, outputs = (data.draw(st.integers(1, 4)) for _ in range(3))
    x = data.draw(slide.inputs(channels, axes))
    first_is_pointwise = [data.draw(st.booleans()) for _ in range(axes)]

    def node(inputs, outputs, pointwise, pads, strides, has_bias=True):
        kernel = [1 if one else data.draw(st.integers(1, 3)) for one in pointwise]
        dilations = [data.draw(st.integers(1, 2)) for _ in range(axes)]
        bias = data.draw(slide.biases(outputs)) if has_bias else None
        weight = data.draw(slide.weights(inputs, outputs, kernel))
        return slide.contraction(weight, bias, Window(tuple(strides), tuple(dilations), *pads, (None,) * axes))

    def pads(at):
        return tuple(tuple(data.draw(st.integers(0, 2)) if here else 0 for here in at) for _ in range(2))

    strides = [1 if one else data.draw(st.integers(1, 2)) for one in first_is_pointwise]
    later = [data.draw(st.integers(1, 2)) for _ in range(axes)]
    second = node(middle, outputs, [not one for one in first_is_pointwise], pads(first_is_pointwise), later)
    first = node(channels, middle, first_is_pointwise, pads([True] * axes), strides, not second.no_shift)
    chained = chain_contractions(first, second)
    assert isinstance(chained, Contraction), chained
    assert_same(
        slide.slide(second, slide.slide(first, x)),
        slide.slide(chained, x),
        slide.bound(second, slide.bound(first, x)),
    )


def test_products_with_a_matrix_merge():
    x = np.arange(24.0).reshape(2, 3, 4)
    one, other = (
        Contraction(Weight(np.random.default_rng(seed).normal(size=(1, 5, 4))), None, 3, 2, 2, window=Window())
        for seed in (0, 1)
    )
    merged = merge_branches([one, replace(other, bias=np.ones((1, 1, 5)))])
    assert np.allclose(
        x @ merged.weight.array[0].T + merged.bias, x @ one.weight.array[0].T + x @ other.weight.array[0].T + 1
    )


CENTRED = conv(1, 4, 4, 3, 3, pads=[(1, 1), (1, 1)])
POINTWISE = conv(1, 4, 4, 1, 1)


@pytest.mark.parametrize(
    ("branches", "reason", "evidence"),
    [
        (
            [CENTRED, conv(1, 4, 4, 1, 1, stride=2)],
            Reason.BRANCHES_DIFFER,
            "branches differ in stride: 1 and 2",
        ),
        (
            [CENTRED, conv(1, 4, 4, 3, 3, pads=[(2, 2), (2, 2)], dilation=2)],
            Reason.BRANCHES_DIFFER,
            "branches differ in dilation: 1 and 2",
        ),
        (
            [CENTRED, conv(1, 6, 4, 1, 1)],
            Reason.BRANCHES_DIFFER,
            "branches differ in output channels: 4 and 6",
        ),
        (
            [CENTRED, conv(1, 4, 4, 1, 1, pads=[(0, 0), (0, 1)])],
            Reason.BRANCHES_DIFFER,
            "branches differ in what padding leaves of the kernel on axis 1: 0 and 1",
        ),
        (
            [
                conv(1, 4, 4, 3, 3, pads=[(2, 2), (2, 2)], dilation=2),
                conv(1, 4, 4, 2, 2, pads=[(1, 1), (2, 0)], dilation=2),
            ],
            Reason.BRANCHES_DIFFER,
            "branches differ in the places that a dilated kernel reads on axis 0: -2 and -1",
        ),
        (
            [CENTRED, replace(POINTWISE, window=None)],
            Reason.UNKNOWN_SHAPE,
            "the strides or the padding of a branch are not known before run time, or its kernel does not slide",
        ),
        (
            [CENTRED, replace(POINTWISE, weight=Weight(np.full((1, 4, 4, 1, 1), np.nan)))],
            Reason.NOT_FINITE,
            "the weight or the bias of a branch holds NaN or infinity",
        ),
    ],
)
def test_refusals(branches, reason, evidence):
    assert_refused(merge_branches(branches), reason, evidence)


def test_lengths_that_are_known_settle_what_padding_leaves():
    """SAME_UPPER of a stride of 2 over 8 places: 3 places of kernel are padded by 0 and 1, and 1 place by nothing."""
    wide = slide.contraction(np.ones((1, 1, 1, 3)), None, Window((2,), (1,), (0,), (1,), (8,)))
    narrow = slide.contraction(np.ones((1, 1, 1, 1)), None, Window((2,), (1,), (0,), (0,), (8,)))
    merged = merge_branches([wide, narrow])
    x = np.arange(8.0).reshape(1, 1, 8)
    assert np.array_equal(slide.slide(merged, x), slide.slide(wide, x) + slide.slide(narrow, x))
    unknown = [replace(node, window=replace(node.window, lengths=(None,))) for node in (wide, narrow)]
    assert isinstance(merge_branches(unknown), Refusal)


def test_a_shift_in_front_of_padded_zeros_is_no_bias():
    first = replace(POINTWISE, bias=np.full((1, 4, 1, 1), 2.0))
    answer = chain_contractions(first, CENTRED)
    assert_refused(answer, Reason.SHIFT_CANNOT_PASS, "zeros are padded; max |shift| 2, channel 0")


def test_two_wide_kernels_are_no_chain():
    answer = chain_contractions(CENTRED, CENTRED)
    expected = "kernels of 3 and 3 places with padding (1, 1) in between are not one kernel"
    assert_refused(answer, Reason.BRANCHES_DIFFER, expected)


def test_a_stride_in_front_of_a_wide_kernel_is_no_chain():
    assert isinstance(chain_contractions(conv(1, 4, 4, 1, 1, stride=2), conv(1, 4, 4, 3, 3)), Refusal)


def test_maps_beside_operators_that_change_the_channels():
    answer = read_map_as_contraction(per_channel(1.0, 0.0, rank=4), conv(1, 6, 4, 1, 1))
    assert_refused(answer, Reason.BRANCHES_DIFFER, "a branch keeps the channels, another makes 6 of 4")


def test_maps_over_places_are_no_kernel():
    affine = Affine(np.ones((1, 1, 1, 5)), np.arange(5.0).reshape(1, 1, 1, 5))
    answer = read_map_as_contraction(affine, POINTWISE)
    expected = "the map varies along axis 3, the output channels are on axis 1"
    assert_refused(answer, Reason.WRONG_AXIS, expected)
