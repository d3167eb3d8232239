"""A Gemm or ConvTranspose with a weight of the run time: the bias takes a shift, a modulated weight a scale."""

import numpy as np
import pytest
from onnx import TensorProto, helper

from bnfold.refusal import Reason
from tests.folding import fold, fold_and_compare
from tests.networks import Network
from tests.onnx.checks import assert_folds_to, assert_stays, operators

X = (3, 5)


def modulated(network, *, transposed=False, dtype="float32"):
    """A constant weight, times a number for each input."""
    shape = (4, 5) if transposed else (5, 4)
    return network.node("Mul", [network.weight("w", *shape, dtype=dtype), "style"], "m")


def gemm(network, *, bias=(4,), transposed=False, dtype="float32", **attributes):
    given = [] if bias is None else [network.weight("b", *bias, dtype=dtype)]
    network.node("Gemm", ["x", "m", *given], "c", transB=int(transposed), **attributes)


def model_of(network, style=(5, 1), **options):
    return network.model({"x": X, "style": style}, {"y": ["n", "c"]}, **options)


@pytest.mark.parametrize("attributes", [{}, {"alpha": 0.5, "beta": -2.0}])
@pytest.mark.parametrize("transposed", [True, False])
@pytest.mark.parametrize("bias", [None, (), (1,), (4,), (1, 4)])
@pytest.mark.parametrize("opset", [11, 17])
def test_a_batch_norm_goes_into_the_weight_that_is_modulated_and_the_bias(opset, bias, transposed, attributes):
    network = Network(opset=opset)
    modulated(network, transposed=transposed)
    gemm(network, bias=bias, transposed=transposed, **attributes)
    network.batch_norm("c", "n", 4)
    network.node("Softsign", ["n"], "y")
    assert_folds_to(model_of(network, (1, 5) if transposed else (5, 1)), "Mul", "Gemm", "Softsign")


@pytest.mark.parametrize("bias", [None, (4,)])
def test_a_shift_needs_the_bias_alone(bias):
    network = Network()
    network.node("Gemm", ["x", "w", *([] if bias is None else [network.weight("b", *bias)])], "c", beta=0.5)
    network.node("Sub", ["c", network.weight("t", 4)], "y")
    model = network.model({"x": X, "w": (5, 4)}, {"y": ["n", "c"]})
    assert_folds_to(model, "Gemm")


def test_a_scale_of_a_weight_from_outside_has_no_place():
    network = Network()
    network.node("Gemm", ["x", "w"], "c")
    network.batch_norm("c", "y", 4)
    model = network.model({"x": X, "w": (5, 4)}, {"y": ["n", "c"]})
    assert_stays(model, Reason.DYNAMIC_WEIGHT, "'w' is an input of graph")


def test_an_addend_with_numbers_for_each_row_is_no_bias():
    network = Network()
    modulated(network)
    gemm(network, bias=(3, 4))
    network.batch_norm("c", "y", 4)
    assert_stays(model_of(network), Reason.WRONG_AXIS, "numbers for each row")


def test_nothing_goes_in_from_the_front():
    network = Network()
    network.batch_norm("x", "n", 5)
    network.node("Gemm", ["n", "w"], "y")
    model = network.model({"x": X, "w": (5, 4)}, {"y": ["n", "c"]})
    assert [reason.reason for reason in fold(model).kept[0].refusals] == [Reason.GRAPH_INPUT, Reason.DYNAMIC_WEIGHT]


def test_a_weight_that_two_products_share_keeps_its_values():
    network = Network()
    modulated(network)
    gemm(network)
    network.node("Gemm", ["x", "m"], "d")
    network.batch_norm("c", "y", 4)
    network.node("Softsign", ["d"], "z")
    model = network.model({"x": X, "style": (5, 1)}, {name: ["n", "c"] for name in "yz"})
    assert_stays(model, Reason.OTHER_CONSUMERS)


def test_a_constant_on_the_left_leaves_columns_to_the_addend():
    network = Network()
    network.node("Gemm", [network.weight("a", 3, 5), "x"], "c")
    network.node("Add", ["c", network.weight("t", 4)], "y")
    assert_folds_to(network.model({"x": (5, 4)}, {"y": ["n", "c"]}), "Gemm")


def test_in_float16():
    network = Network()
    modulated(network, dtype="float16")
    gemm(network, dtype="float16")
    network.node("Mul", ["c", network.constant("k", [1.5, -2.0, 0.0, 0.5], "float16")], "s")
    network.node("Add", ["s", network.weight("t", 4, dtype="float16")], "y")
    assert operators(fold_and_compare(model_of(network, dtype="float16")).model) == ["Mul", "Gemm"]


@pytest.mark.parametrize("bias", [True, False])
def test_a_transposed_convolution(bias):
    network = Network()
    network.node("Mul", [network.weight("w", 3, 4, 2, 2), "style"], "m")
    given = [network.weight("b", 4)] if bias else []
    network.node("ConvTranspose", ["x", "m", *given], "c", strides=[2, 2])
    network.batch_norm("c", "y", 4)
    model = network.model({"x": (2, 3, 4, 4), "style": (3, 1, 1, 1)}, {"y": ["n", "c", "h", "w"]})
    assert_folds_to(model, "Mul", "ConvTranspose")


def test_a_transposed_convolution_in_groups_takes_a_shift():
    """Its weight has a row for several channels at once, and no place for a scale of each."""
    network = Network()
    network.node("Mul", [network.weight("w", 4, 2, 2, 2), "style"], "m")
    network.node("ConvTranspose", ["x", "m"], "c", group=2)
    network.node("Add", ["c", network.weight("t", 4, 1, 1)], "s")
    network.node("Mul", ["s", network.weight("k", 4, 1, 1)], "y")
    model = network.model({"x": (2, 4, 4, 4), "style": (4, 1, 1, 1)}, {"y": ["n", "c", "h", "w"]})
    folded = fold_and_compare(model)
    assert operators(folded.model) == ["Mul", "ConvTranspose", "Mul"]


def test_integers_beside_a_weight_of_the_run_time_take_no_shift():
    network = Network()
    network.node("DequantizeLinear", ["kernel", network.constant("ks", 0.1)], "w")
    network.constant("q", np.arange(4), "int32")
    network.node("DequantizeLinear", ["q", network.constant("bs", 0.01)], "bias")
    network.node("Gemm", ["x", "w", "bias"], "c")
    network.node("Add", ["c", network.weight("t", 4)], "y")
    model = network.model({"x": X}, {"y": ["n", "c"]}, check=False)
    model.graph.input.append(helper.make_tensor_value_info("kernel", TensorProto.INT8, (5, 4)))
    assert fold(model).kept[0].refusals[0].reason is Reason.QUANTIZED
