"""Parallel branches of ONNX graphs become one operator, or stay apart with a reason."""

import numpy as np
import pytest
from onnx import numpy_helper

from tests.folding import fold, fold_and_compare
from tests.networks import Network
from tests.onnx.checks import operators

IMAGE = {"x": (2, 4, 9, 8)}


def merged(network, outputs=("y",), inputs=IMAGE, **options):
    """Fold, merge, and compare the outputs."""
    return fold_and_compare(network.model(inputs, list(outputs)), merge=True, **options)


def conv(network, source, output, *shape, bias=True, **attributes):
    """A Conv with a weight of this shape."""
    weight = network.weight(f"{output}.weight", *shape)
    biases = [network.weight(f"{output}.bias", shape[0])] if bias else []
    return network.node("Conv", [source, weight, *biases], output, **attributes)


def conv_norm(network, source, output, *shape, **attributes):
    """As training forms have it: Conv without bias, BatchNorm."""
    inner = conv(network, source, f"{output}.conv", *shape, bias=False, **attributes)
    return network.batch_norm(inner, output, shape[0])


def rep_vgg(network, source, output, channels, *, groups=1):
    """3x3, 1x1 and the identity, each with a BatchNorm."""
    inner = channels // groups
    wide = conv_norm(network, source, f"{output}.3x3", channels, inner, 3, 3, pads=[1] * 4, group=groups)
    narrow = conv_norm(network, source, f"{output}.1x1", channels, inner, 1, 1, group=groups)
    same = network.batch_norm(source, f"{output}.identity", channels)
    network.node("Add", [wide, narrow], f"{output}.first")
    return network.node("Add", [f"{output}.first", same], output)


@pytest.mark.parametrize("groups", [1, 2, 4])
def test_rep_vgg(groups):
    network = Network()
    rep_vgg(network, "x", "sum", 4, groups=groups)
    network.node("Relu", ["sum"], "y")
    folded = merged(network)
    assert operators(folded.model) == ["Conv", "Relu"]
    (merge,) = folded.merges
    assert (merge.node, merge.into, merge.tensor, merge.branches) == ("sum_node", "sum.3x3.conv_node", "sum", 3)
    assert set(merge.gone) == {"sum.1x1.conv_node", "sum.identity_node", "sum.first_node", "sum_node"}
    assert (merge.operators.before, merge.operators.after) == (5, 1)
    assert merge.multiply_adds.before - merge.multiply_adds.after == 16 // groups
    assert merge.parameters.after == 4 * 4 * 9 // groups
    directions = {fold.node: (fold.direction, fold.into) for fold in folded.folds}
    assert directions["sum.identity_node"] == ("branch", ("sum.3x3.conv_node",))
    assert folded.kept == folded.apart == ()


def test_the_sum_may_be_the_output():
    network = Network()
    rep_vgg(network, "x", "y", 4)
    folded = merged(network)
    assert operators(folded.model) == ["Conv"]
    assert folded.model.graph.node[0].output[0] == "y"


def test_a_batch_norm_behind_the_sum_folds_after_the_merge():
    """RepViT: x + dw(x) + pw(x) with a BatchNorm around, which the identity could not take."""
    network = Network()
    conv_norm(network, "x", "deep", 4, 1, 3, 3, pads=[1] * 4, group=4)
    conv(network, "x", "point", 4, 1, 1, 1, group=4)
    network.node("Add", ["deep", "point"], "first")
    network.node("Add", ["first", "x"], "sum")
    network.batch_norm("sum", "y", 4)
    assert operators(merged(network).model) == ["Conv"]


def test_a_stack_of_blocks():
    network = Network()
    rep_vgg(network, "x", "a", 4)
    network.node("Relu", ["a"], "a.relu")
    rep_vgg(network, "a.relu", "b", 4)
    network.node("Relu", ["b"], "b.relu")
    rep_vgg(network, "b.relu", "y", 4)
    folded = merged(network)
    assert operators(folded.model) == ["Conv", "Relu", "Conv", "Relu", "Conv"]
    assert len(folded.merges) == 3


@pytest.mark.parametrize("axes", [1, 3])
def test_other_numbers_of_axes(axes):
    network = Network()
    conv_norm(network, "x", "wide", 4, 4, *(3,) * axes, pads=[1] * 2 * axes)
    conv_norm(network, "x", "narrow", 4, 4, *(1,) * axes)
    network.node("Sum", ["wide", "narrow", "x"], "y")
    assert operators(merged(network, inputs={"x": (2, 4, *(6,) * axes)}).model) == ["Conv"]


def test_crossing_kernels_beside_a_square_one():
    """ACNet: 3x3, 1x3 and 3x1."""
    network = Network()
    conv_norm(network, "x", "square", 4, 4, 3, 3, pads=[1, 1, 1, 1], strides=[2, 2])
    conv_norm(network, "x", "flat", 4, 4, 1, 3, pads=[0, 1, 0, 1], strides=[2, 2])
    conv_norm(network, "x", "tall", 4, 4, 3, 1, pads=[1, 0, 1, 0], strides=[2, 2])
    network.node("Add", ["flat", "tall"], "cross")
    network.node("Add", ["square", "cross"], "y")
    assert operators(merged(network).model) == ["Conv"]


def test_the_rest_of_a_sum_stays():
    network = Network()
    conv(network, "x", "wide", 4, 4, 3, 3, pads=[1] * 4)
    conv(network, "x", "dilated", 4, 4, 3, 3, pads=[2] * 4, dilations=[2, 2])
    conv(network, "x", "narrow", 4, 4, 1, 1)
    network.node("Add", ["wide", "dilated"], "first")
    network.node("Add", ["first", "narrow"], "y")
    folded = merged(network)
    assert operators(folded.model) == ["Conv", "Conv", "Add"]


def test_an_unrelated_operand_stays():
    network = Network()
    conv(network, "x", "wide", 4, 4, 3, 3, pads=[1] * 4)
    network.node("Sigmoid", ["x"], "gate")
    network.node("Sum", ["gate", "wide", "x", "gate"], "y")
    folded = merged(network)
    assert operators(folded.model) == ["Conv", "Sigmoid", "Sum"]
    assert len(folded.model.graph.node[-1].input) == 3


@pytest.mark.parametrize("first", [False, True])
def test_a_difference(first):
    network = Network()
    conv(network, "x", "wide", 4, 4, 3, 3, pads=[1] * 4)
    network.batch_norm("x", "same", 4)
    network.node("Sub", ["same", "wide"] if first else ["wide", "same"], "y")
    assert operators(merged(network).model) == ["Conv"]


def test_an_average_pooling_is_a_kernel():
    """DBB: 1x1, BatchNorm, average over unpadded places, where the 1x1 pads."""
    network = Network()
    conv_norm(network, "x", "wide", 4, 4, 3, 3, pads=[1] * 4)
    conv_norm(network, "x", "before", 4, 4, 1, 1, pads=[1] * 4)
    network.node("AveragePool", ["before"], "average", kernel_shape=[3, 3])
    network.node("Add", ["wide", "average"], "y")
    assert operators(merged(network).model) == ["Conv"]


@pytest.mark.parametrize("counted", [0, 1])
def test_an_average_pooling_that_pads_counts_its_zeros(counted):
    network = Network()
    conv(network, "x", "wide", 4, 4, 3, 3, pads=[1] * 4)
    network.node("AveragePool", ["x"], "average", kernel_shape=[3, 3], pads=[1] * 4, count_include_pad=counted)
    network.node("Add", ["wide", "average"], "y")
    assert len(merged(network).merges) == counted


def test_a_pointwise_operator_in_front_of_a_wide_one():
    """DBB: 1x1 that pads, BatchNorm, 3x3 that does not."""
    network = Network()
    conv_norm(network, "x", "wide", 4, 4, 3, 3, pads=[1] * 4)
    conv_norm(network, "x", "before", 6, 4, 1, 1, pads=[1] * 4)
    conv_norm(network, "before", "after", 4, 6, 3, 3)
    network.node("Add", ["wide", "after"], "y")
    assert operators(merged(network).model) == ["Conv"]


def test_operators_in_a_row_that_are_cheaper_as_one():
    """SESR: 3x3 to many channels, 1x1 back."""
    network = Network()
    conv(network, "x", "wide", 32, 4, 3, 3, pads=[1] * 4)
    conv(network, "wide", "y", 4, 32, 1, 1)
    folded = merged(network)
    assert operators(folded.model) == ["Conv"]
    (merge,) = folded.merges
    assert (merge.branches, merge.multiply_adds.before, merge.multiply_adds.after) == (1, 32 * 40, 144)
    assert folded.model.graph.node[0].output[0] == "y"


def test_collapsed_rows_become_branches():
    """Pairs in both branches merge first, then the branches."""
    network = Network()
    for name in ("a", "b"):
        conv(network, "x", f"{name}.wide", 32, 4, 3, 3, pads=[1] * 4)
        conv(network, f"{name}.wide", name, 4, 32, 1, 1)
    network.node("Sum", ["a", "b", "x"], "y")
    assert operators(merged(network).model) == ["Conv"]


@pytest.mark.parametrize("auto_pad", ["SAME_UPPER", "SAME_LOWER"])
@pytest.mark.parametrize("stride", [1, 2])
def test_automatic_padding(auto_pad, stride):
    network = Network()
    conv_norm(network, "x", "wide", 4, 4, 3, 3, auto_pad=auto_pad, strides=[stride] * 2)
    conv_norm(network, "x", "narrow", 4, 4, 1, 1, auto_pad=auto_pad, strides=[stride] * 2)
    network.node("Add", ["wide", "narrow"], "y")
    assert operators(merged(network).model) == ["Conv"]


def test_kernels_without_a_centre_lie_where_they_look():
    network = Network()
    conv(network, "x", "even", 4, 4, 2, 2, pads=[1, 0, 0, 1])
    conv(network, "x", "wide", 4, 4, 3, 3, pads=[1] * 4)
    network.node("Add", ["even", "wide"], "y")
    assert operators(merged(network).model) == ["Conv"]


def test_a_kernel_that_none_of_the_branches_has():
    """Two kernels of 1x1 at different places, made one of 1x2: as many multiply-adds, one operator less."""
    network = Network()
    conv(network, "x", "here", 4, 4, 1, 1, pads=[0, 0, 0, 1])
    conv(network, "x", "there", 4, 4, 1, 1, pads=[0, 1, 0, 0])
    network.node("Add", ["here", "there"], "y")
    folded = merged(network)
    assert operators(folded.model) == ["Conv"]
    assert folded.merges[0].multiply_adds.before == folded.merges[0].multiply_adds.after


def test_products_with_matrices():
    network = Network()
    network.node("MatMul", ["x", network.weight("a", 8, 8)], "left")
    network.node("MatMul", ["x", network.weight("b", 8, 8)], "right")
    network.node("Add", ["left", network.weight("bias", 8)], "left.biased")
    network.node("Add", ["left.biased", "right"], "sum")
    network.node("Add", ["sum", "x"], "y")
    folded = merged(network, inputs={"x": (2, 3, 8)})
    assert operators(folded.model) == ["MatMul", "Add"]


def test_averaged_heads():
    """LeViT: two classifiers of one tensor, and the mean of both."""
    network = Network()
    for name in ("a", "b"):
        network.batch_norm("x", f"{name}.normal", 8)
        weight, bias = network.weight(f"{name}.w", 5, 8), network.weight(f"{name}.c", 5)
        network.node("Gemm", [f"{name}.normal", weight, bias], name, transB=1)
    network.node("Add", ["a", "b"], "sum")
    network.node("Div", ["sum", network.constant("two", 2.0)], "y")
    assert operators(merged(network, inputs={"x": (4, 8)}).model) == ["Gemm"]


def test_half_precision():
    network = Network()
    network.node("Conv", ["x", network.weight("w", 4, 4, 3, 3, dtype="float16")], "wide", pads=[1] * 4)
    network.node("Add", ["wide", "x"], "y")
    model = network.model(IMAGE, ["y"], dtype="float16")
    folded = fold_and_compare(model, merge=True)
    assert operators(folded.model) == ["Conv"]


def test_weights_that_others_share_keep_their_values():
    network = Network()
    weight = network.weight("w", 4, 4, 3, 3)
    network.node("Conv", ["x", weight], "wide", pads=[1] * 4)
    network.node("Add", ["wide", "x"], "y")
    network.node("Sigmoid", ["x"], "gate")
    network.node("Conv", ["gate", weight], "z", pads=[1] * 4)
    assert operators(merged(network, ["y", "z"]).model) == ["Conv", "Sigmoid", "Conv"]


def test_numbers_that_cancel():
    """Branches of 1e4 whose sum is small: nothing is lost but the original's own rounding."""
    network = Network()
    kernel = np.random.default_rng(3).normal(size=(4, 4, 3, 3))
    network.node("Conv", ["x", network.constant("w", kernel * 1e4)], "one", pads=[1] * 4)
    network.node("Conv", ["x", network.constant("v", kernel - kernel * 1e4)], "other", pads=[1] * 4)
    network.node("Add", ["one", "other"], "y")
    folded = fold(network.model(IMAGE, ["y"]), merge=True)
    (weight, *_) = folded.model.graph.initializer
    exact = network.initializers["w"].astype(np.float64) + network.initializers["v"].astype(np.float64)

    assert np.array_equal(numpy_helper.to_array(weight), exact.astype(np.float32))


@pytest.mark.parametrize("beta", [0.0, 0.5])
@pytest.mark.parametrize("second", ["MatMul", "Gemm"])
def test_rows_of_products_keep_no_bias_that_a_factor_had_silenced(second, beta):
    """The node that stays had a C of another length, times beta."""
    network = Network()
    network.node("Gemm", ["x", network.weight("w", 2, 6), network.weight("c", 6)], "g", alpha=0.5, beta=beta)
    network.node(second, ["g", network.weight("v", 6, 3)], "y")
    folded = merged(network, inputs={"x": (4, 2)})
    assert len(folded.model.graph.node) == 1
