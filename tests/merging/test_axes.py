"""Branches of tensors with the channels behind, between Transposes."""

from bnfold.refusal import Reason
from tests.merging.test_onnx import conv, merged
from tests.networks import Network
from tests.onnx.checks import operators

TO_FRONT, TO_BACK = (0, 3, 1, 2), (0, 2, 3, 1)
PIXELS = {"x": (2, 9, 8, 4)}


def turned_conv(network, source, output, *shape, **attributes):
    """A convolution of a tensor with the channels behind."""
    front = network.node("Transpose", [source], f"{output}.front", perm=TO_FRONT)
    conv(network, front, f"{output}.made", *shape, **attributes)
    return network.node("Transpose", [f"{output}.made"], output, perm=TO_BACK)


def test_branches_with_the_channels_behind():
    """Each convolution between two Transposes, the identity between none."""
    network = Network()
    turned_conv(network, "x", "wide", 4, 4, 3, 3, pads=[1] * 4)
    turned_conv(network, "x", "narrow", 4, 4, 1, 1)
    scaled = network.node("Mul", ["x", network.weight("scale", 4)], "scaled")
    shifted = network.node("Add", [scaled, network.weight("shift", 4)], "shifted")
    network.node("Add", ["wide", "narrow"], "first")
    network.node("Add", ["first", shifted], "sum")
    network.node("Relu", ["sum"], "y")
    assert operators(merged(network, inputs=PIXELS).model) == ["Transpose", "Conv", "Transpose", "Relu"]


def test_branches_that_share_a_transpose_in_front():
    network = Network()
    front = network.node("Transpose", ["x"], "front", perm=TO_FRONT)
    conv(network, front, "wide", 4, 4, 3, 3, pads=[1] * 4)
    conv(network, front, "narrow", 4, 4, 1, 1)
    network.node("Sum", ["wide", front, "narrow"], "sum")
    network.node("Transpose", ["sum"], "y", perm=TO_BACK)
    assert operators(merged(network, inputs=PIXELS).model) == ["Transpose", "Conv", "Transpose"]


def test_a_transpose_that_others_read_stays():
    network = Network()
    front = network.node("Transpose", ["x"], "front", perm=TO_FRONT)
    conv(network, front, "wide", 4, 4, 3, 3, pads=[1] * 4)
    conv(network, front, "narrow", 4, 4, 1, 1)
    network.node("Add", ["wide", "narrow"], "y")
    network.node("Sigmoid", [front], "z")
    assert operators(merged(network, ["y", "z"], PIXELS).model) == ["Transpose", "Conv", "Sigmoid"]


def test_other_orders_of_axes_stay_apart():
    """Width and height change places in one of the branches; the image is square, so that the sum is valid."""
    network = Network()
    turned_conv(network, "x", "wide", 4, 4, 3, 3, pads=[1] * 4)
    front = network.node("Transpose", ["x"], "other", perm=(0, 3, 2, 1))
    conv(network, front, "narrow", 4, 4, 1, 1)
    network.node("Transpose", ["narrow"], "narrow.back", perm=TO_BACK)
    network.node("Add", ["wide", "narrow.back"], "y")
    folded = merged(network, inputs={"x": (2, 8, 8, 4)})
    assert folded.merges == ()
    assert folded.apart[0].refusals[0].reason is Reason.BRANCHES_DIFFER


def test_a_transposed_tensor_is_not_the_tensor():
    network = Network()
    turned_conv(network, "x", "wide", 4, 4, 3, 3, pads=[1] * 4)
    network.node("Transpose", ["x"], "turned", perm=(0, 2, 1, 3))
    network.node("Add", ["wide", "turned"], "y")
    assert merged(network, inputs={"x": (2, 8, 8, 4)}).merges == ()
