"""Pad with a number: a map that makes one number of it passes, on either side, in every version."""

import numpy as np
import pytest
from onnx import numpy_helper

from bnfold.refusal import Reason
from tests.folding import fold_and_compare
from tests.networks import Network
from tests.onnx.checks import assert_folds_to, operators
from tests.onnx.paths import assert_moves, assert_names_hold, assert_stuck, conv

IMAGE = (2, 3, 6, 5)
PADS = [0, 0, 1, 2, 0, 0, 0, 1]
OPSETS = [7, 10, 11, 17, 18, 22]


def pad(network, value, output, number, dtype="float32"):
    if network.opset < 11:
        return network.node("Pad", [value], output, pads=PADS, value=number)
    pads = network.constant(f"{output}.pads", PADS, "int64")
    return network.node("Pad", [value, pads, network.constant(f"{output}.value", number, dtype)], output)


def number_in(model):
    (node,) = [node for node in model.graph.node if node.op_type == "Pad"]
    (value,) = [entry.f for entry in node.attribute if entry.name == "value"] or [
        float(np.ravel(numpy_helper.to_array(tensor))[0])
        for tensor in model.graph.initializer
        if tensor.name == node.input[2]
    ]
    return value


@pytest.mark.parametrize("opset", OPSETS)
@pytest.mark.parametrize("number", [0.5, -3.0])
def test_pixels_become_numbers_around_zero_before_a_padded_stem(number, opset):
    """(x / 255 - m) / d with one m and d for all, Pad, Conv."""
    network = Network(opset=opset)
    network.node("Div", ["x", network.constant("c255", 255.0)], "r")
    network.node("Sub", ["r", network.constant("m", 0.45)], "s")
    network.node("Div", ["s", network.constant("d", -0.22)], "n")
    pad(network, "n", "p", number)
    conv(network, "p", "y", 3, 4, kernel=3)
    folded = assert_moves(network.model({"x": IMAGE}, ["y"]), "Pad", "Conv")
    assert number_in(folded.model) == pytest.approx((number * -0.22 + 0.45) * 255, rel=1e-6)


@pytest.mark.parametrize("opset", OPSETS)
@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_a_uniform_map_behind_it_goes_to_the_weights_in_front(opset, dtype):
    network = Network(opset=opset)
    conv(network, "x", "c", 3, 4, dtype=dtype)
    pad(network, "c", "p", 0.5, dtype)
    network.node("Mul", ["p", network.constant("a", -2.0, dtype)], "q")
    network.node("Add", ["q", network.constant("b", 0.25, dtype)], "y")
    folded = assert_moves(network.model({"x": IMAGE}, ["y"], dtype=dtype), "Conv", "Pad", direction="upstream")
    assert number_in(folded.model) == -0.75


def test_what_others_read_of_the_number_stays():
    network = Network()
    conv(network, "x", "c", 3, 4)
    pad(network, "c", "p", 0.5)
    network.node("Mul", ["p", network.constant("a", -2.0)], "y")
    network.node("Add", ["x", "p.value"], "z")
    folded = fold_and_compare(network.model({"x": IMAGE}, ["y", "z"]))
    assert operators(folded.model) == ["Conv", "Pad", "Add"]
    assert_names_hold(folded)


def test_a_number_that_becomes_zero():
    network = Network()
    network.node("Sub", ["x", network.constant("m", -0.5)], "n")
    pad(network, "n", "p", 0.5)
    conv(network, "p", "y", 3, 4, kernel=3)
    assert number_in(assert_moves(network.model({"x": IMAGE}, ["y"]), "Pad", "Conv").model) == 0.0


@pytest.mark.parametrize("kind", ["Mul", "Add"])
def test_one_number_for_all_channels_cannot_become_several(kind):
    network = Network()
    conv(network, "x", "c", 3, 3)
    pad(network, "c", "p", 0.5)
    network.node(kind, ["p", network.weight("m", 3, 1, 1)], "y")
    model = network.model({"x": IMAGE}, ["y"])
    assert_stuck(model, Reason.WRONG_AXIS, "y", "p", evidence="3 numbers of the one that is padded")


def test_zeros_stay_zeros():
    """Runtimes put a padding with zeros into the convolution behind it."""
    network = Network()
    network.node("Sub", ["x", network.constant("m", 0.5)], "n")
    pad(network, "n", "p", 0.0)
    conv(network, "p", "y", 3, 4, kernel=3)
    model = network.model({"x": IMAGE}, ["y"])
    assert_stuck(model, Reason.SHIFT_CANNOT_PASS, "n", "p", downstream=True)


def test_an_attribute_has_not_the_digits_of_float64():
    network = Network(opset=9)
    network.node("Mul", ["x", network.constant("m", 0.5, "float64")], "n")
    pad(network, "n", "p", 0.5)
    network.node("MatMul", ["p", network.weight("w", 8, 2, dtype="float64")], "y")
    model = network.model({"x": IMAGE}, ["y"], dtype="float64")
    assert_stuck(model, Reason.NOT_LINEAR, "n", "p", downstream=True, evidence="has the digits of float32")


def test_minus_infinity_stays_what_it_is():
    """As in front of a MaxPool."""
    network = Network()
    conv(network, "x", "c", 3, 4)
    pad(network, "c", "p", -np.inf)
    network.node("MaxPool", ["p"], "q", kernel_shape=[3, 3])
    network.node("Mul", ["q", network.constant("a", 2.0)], "y")
    assert_moves(network.model({"x": IMAGE}, ["y"]), "Conv", "Pad", "MaxPool", direction="upstream")


@pytest.mark.parametrize("first", ["Div", "Mul"])
@pytest.mark.parametrize("last", ["Div", "Mul"])
def test_one_subtraction_is_enough_before_a_padded_stem(first, last):
    """(x / 255 - m) / d: the zeros of the padding keep the shift, the scales go on."""
    network = Network()
    network.node(first, ["x", network.constant("k", 255.0 if first == "Div" else 1 / 255)], "a")
    network.node("Sub", ["a", network.constant("m", [[[0.485]], [[0.456]], [[0.406]]])], "b")
    network.node(last, ["b", network.constant("d", [[[0.229]], [[0.224]], [[0.225]]])], "c")
    network.node("Conv", ["c", network.weight("w", 4, 3, 3, 3)], "y", pads=[1, 1, 1, 1])
    assert_folds_to(network.model({"x": (1, 3, 8, 8)}, ["y"]), "Sub", "Conv")


def test_a_scale_of_0_stays_before_the_subtraction():
    network = Network()
    network.node("Mul", ["x", network.constant("k", [[[0.0]], [[1.0]], [[2.0]]])], "a")
    network.node("Sub", ["a", network.constant("m", [[[0.485]], [[0.456]], [[0.406]]])], "b")
    network.node("Conv", ["b", network.weight("w", 4, 3, 3, 3)], "y", pads=[1, 1, 1, 1])
    assert_folds_to(network.model({"x": (1, 3, 8, 8)}, ["y"]), "Mul", "Sub", "Conv")
