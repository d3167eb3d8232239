"""Initializers that are also inputs of the graph: up to IR 3 all of them, later those that a caller may replace."""

import pytest
from onnx import TensorProto, helper

from bnfold.refusal import Reason
from tests.folding import count, fold
from tests.onnx.checks import assert_folds_to, assert_stays
from tests.onnx.parameters import CHANNELS, conv_and_batch_norm


@pytest.mark.parametrize("ir_version", [3, 4, 8])
def test_overridable_parameters_fold_and_are_no_inputs_any_more(ir_version):
    network, inputs = conv_and_batch_norm(opset=9, ir_version=ir_version)
    folded = assert_folds_to(network.model(inputs, ["y"], overridable=True), "Conv")
    left = {entry.name for entry in folded.model.graph.input}
    assert left == ({"x", "weight", "bias"} if ir_version == 3 else {"x"})


@pytest.mark.parametrize("ir_version", [3, 4])
def test_a_new_bias_is_an_input_only_where_it_must_be(ir_version):
    network, inputs = conv_and_batch_norm(opset=9, ir_version=ir_version)
    network.nodes[0].input.pop()
    network.initializers.pop("bias")
    folded = assert_folds_to(network.model(inputs, ["y"], overridable=True), "Conv")
    left = {entry.name: entry.type.tensor_type for entry in folded.model.graph.input}
    assert left.keys() == ({"x", "weight", "bias"} if ir_version == 3 else {"x"})
    if ir_version == 3:
        assert [dim.dim_value for dim in left["bias"].shape.dim] == [CHANNELS]


def test_inputs_that_did_not_fold_stay_inputs():
    network, inputs = conv_and_batch_norm(opset=9, ir_version=4)
    network.node("Relu", ["y"], "r")
    network.node("Conv", ["r", network.weight("other", 2, CHANNELS, 1, 1)], "z")
    folded = assert_folds_to(network.model(inputs, ["z"], overridable=True), "Conv", "Relu", "Conv")
    assert [entry.name for entry in folded.model.graph.input] == ["x", "other"]


@pytest.mark.parametrize("ir_version", [3, 4])
def test_keep_overridable_folds_none_of_them(ir_version):
    network, inputs = conv_and_batch_norm(opset=9, ir_version=ir_version)
    model = network.model(inputs, ["y"], overridable=True)
    assert_stays(model, Reason.OVERRIDABLE, "is an initializer and a graph input", keep_overridable=True)


def test_keep_overridable_folds_what_is_no_input():
    network, inputs = conv_and_batch_norm(opset=9, ir_version=4)
    model = network.model(inputs, ["y"])
    assert_folds_to(model, "Conv", keep_overridable=True)
    model.graph.input.append(helper.make_tensor_value_info("y.mean", TensorProto.FLOAT, [CHANNELS]))
    assert_stays(model, Reason.OVERRIDABLE, "'y.mean' is an initializer and a graph input", keep_overridable=True)
    assert count(fold(model).model, "BatchNormalization") == 0


@pytest.mark.parametrize("op", ["Mul", "Add", "Sub", "Div"])
def test_an_overridable_operand_is_named_as_the_obstacle(op):
    network, inputs = conv_and_batch_norm(opset=9, ir_version=4)
    network.nodes.insert(1, helper.make_node(op, ["c", network.weight("constant", CHANNELS, 1, 1)], ["m"], name="m"))
    network.nodes[2].input[0] = "m"
    model = network.model(inputs, ["y"])
    model.graph.input.append(helper.make_tensor_value_info("constant", TensorProto.FLOAT, [CHANNELS, 1, 1]))
    evidence = "'constant' is an initializer and a graph input"
    assert_stays(model, Reason.OVERRIDABLE, evidence, keep_overridable=True)
