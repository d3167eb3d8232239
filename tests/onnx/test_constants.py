"""Constant nodes of every form, and what happens to a constant that somebody else reads too."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from bnfold.frontends.onnx.storage import TensorStore
from bnfold.refusal import Reason
from tests.folding import fold, fold_and_compare
from tests.networks import Network
from tests.onnx.checks import assert_folds_to, assert_stays, operators
from tests.onnx.parameters import (
    CHANNELS,
    conv_and_batch_norm,
    names_of_initializers,
    put_into_constant_node,
    sparse_tensor,
)


@pytest.mark.parametrize("opset", [7, 9, 11, 12, 13, 19, 22])
def test_value(opset):
    network, inputs = conv_and_batch_norm(opset)
    for name in list(network.initializers):
        put_into_constant_node(network, name)
    folded = assert_folds_to(network.model(inputs, ["y"]), "Conv")
    assert names_of_initializers(folded.model) == {"weight", "bias"}


@pytest.mark.parametrize("opset", [12, 13, 22])
def test_value_floats(opset):
    network, inputs = conv_and_batch_norm(opset)
    for name in ("bias", "y.scale", "y.bias", "y.mean", "y.var"):
        put_into_constant_node(network, name, "value_floats")
    assert_folds_to(network.model(inputs, ["y"]), "Conv")


@pytest.mark.parametrize("op", ["Mul", "Add", "Sub", "Div"])
def test_value_float(op):
    network, inputs = conv_and_batch_norm()
    network.node(op, ["y", network.constant("factor", 1.7)], "z")
    put_into_constant_node(network, "factor", "value_float")
    assert_folds_to(network.model(inputs, ["z"]), "Conv")


def test_a_merged_constant_node_becomes_an_initializer():
    network = Network()
    network.node("Mul", ["x", network.constant("a", 1.7)], "m")
    network.node("Mul", ["m", network.constant("b", 0.3)], "y")
    for name in ("a", "b"):
        put_into_constant_node(network, name, "value_float")
    folded = assert_folds_to(network.model({"x": (2, 3)}, ["y"]), "Mul")
    (tensor,) = folded.model.graph.initializer
    assert tensor.name == "b"
    assert numpy_helper.to_array(tensor) == np.float32(np.float64(np.float32(1.7)) * np.float64(np.float32(0.3)))


def test_value_int_and_value_ints_of_shapes_and_axes():
    network, inputs = conv_and_batch_norm()
    long = network.weight("long", 1, CHANNELS, 1)
    network.node("Mul", ["y", network.node("Reshape", [long, network.constant("s", [-1, 1, 1], "int64")], "k")], "m")
    vector = network.weight("vector", CHANNELS)
    axis = network.constant("axis", 1, "int64")
    axes = network.node("Reshape", [axis, network.constant("one", [1], "int64")], "axes")
    column = network.node("Unsqueeze", [network.node("Unsqueeze", [vector, axes], "k1"), axes], "k2")
    network.node("Add", ["m", column], "z")
    put_into_constant_node(network, "s", "value_ints")
    put_into_constant_node(network, "one", "value_ints")
    put_into_constant_node(network, "axis", "value_int")
    folded = assert_folds_to(network.model(inputs, {"z": (2, CHANNELS, 4, 4)}), "Conv")
    assert names_of_initializers(folded.model) == {"weight", "bias"}


@pytest.mark.parametrize("form", ["value_int", "value_ints"])
def test_integers_are_no_parameters(form):
    network = Network()
    network.node("Mul", ["x", network.constant("two", [2] if form == "value_ints" else 2, "int64")], "y")
    put_into_constant_node(network, "two", form)
    folded = fold(network.model({"x": (2, 3)}, ["y"], dtype="int64"))
    assert (folded.folds, folded.kept) == ((), ())


@pytest.mark.parametrize(
    ("name", "reason"), [("weight", Reason.SPARSE), ("bias", Reason.SPARSE), ("y.scale", Reason.SPARSE)]
)
@pytest.mark.parametrize("kind", ["node", "initializer"])
def test_sparse_parameters_are_refused(name, reason, kind):
    network, inputs = conv_and_batch_norm()
    if kind == "node":
        put_into_constant_node(network, name, "sparse_value")
        model = network.model(inputs, {"y": (2, CHANNELS, 4, 4)})
        evidence = f"'{name}_node' is a sparse constant"
    else:
        tensor = sparse_tensor(network.initializers.pop(name), name)
        model = network.model(inputs, {"y": (2, CHANNELS, 4, 4)}, check=False)
        model.graph.sparse_initializer.append(tensor)
        evidence = f"{name!r} is a sparse initializer"
    assert_stays(model, reason, evidence)


@pytest.mark.parametrize("op", ["Mul", "Add", "Sub", "Div"])
def test_a_sparse_operand_is_named_as_the_obstacle(op):
    network = Network()
    network.node("Conv", ["x", network.weight("weight", CHANNELS, 3, 1, 1)], "c")
    network.node(op, ["c", network.weight("constant", CHANNELS, 1, 1)], "m")
    network.batch_norm("m", "y", CHANNELS)
    put_into_constant_node(network, "constant", "sparse_value")
    model = network.model({"x": (2, 3, 4, 4)}, {"y": (2, CHANNELS, 4, 4)})
    assert_stays(model, Reason.SPARSE, "'constant_node' is a sparse constant")


def test_text_is_no_parameter():
    network, inputs = conv_and_batch_norm()
    network.initializers.pop("bias")
    network.nodes.insert(0, helper.make_node("Constant", [], ["bias"], name="bias_node", value_string="four"))
    model = network.model(inputs, {"y": (2, CHANNELS, 4, 4)}, check=False)
    assert_stays(model, Reason.MALFORMED, "attribute 'value_string' holds no number")


def test_a_constant_node_that_is_also_an_output_stays_one():
    network, inputs = conv_and_batch_norm()
    put_into_constant_node(network, "weight")
    model = network.model(inputs, {"y": (2, CHANNELS, 4, 4), "weight": (CHANNELS, 3, 1, 1)})
    folded = assert_folds_to(model, "Constant", "Conv")
    assert list(folded.model.graph.node[1].input) == ["x", "weight_folded", "bias"]


def test_a_stored_constant_that_two_chains_share_is_left_alone():
    network = Network()
    network.weight("shared", CHANNELS * 3)
    shape = network.constant("shape", [CHANNELS, 3, 1, 1], "int64")
    for branch in ("left", "right"):
        weight = network.node("Reshape", ["shared", shape], f"{branch}.weight")
        network.node("Conv", ["x", weight], f"{branch}.c")
    network.batch_norm("left.c", "y", CHANNELS)
    network.node("Relu", ["right.c"], "z")
    folded = fold_and_compare(network.model({"x": (2, 3, 4, 4)}, ["y", "z"]))
    assert operators(folded.model) == ["Conv", "Reshape", "Conv", "Relu"]


def test_a_computed_constant_that_two_nodes_share_is_left_alone():
    network = Network()
    weight = network.node("Identity", [network.weight("stored", CHANNELS, 3, 1, 1)], "weight")
    network.node("Conv", ["x", weight], "c")
    network.node("Conv", ["x", weight], "z")
    network.batch_norm("c", "y", CHANNELS)
    folded = assert_folds_to(network.model({"x": (2, 3, 4, 4)}, ["y", "z"]), "Identity", "Conv", "Conv")
    assert list(folded.model.graph.node[1].input) == ["x", "weight_folded", "bias"]


def test_one_tensor_in_two_roles():
    """One vector of ones is scale and variance of two BatchNorms, and the bias of a convolution."""
    network, inputs = conv_and_batch_norm()
    network.constant("ones", np.ones(CHANNELS))
    network.nodes[0].input[2] = "ones"
    network.nodes[1].input[1] = network.nodes[1].input[4] = "ones"
    network.batch_norm("y", "z", CHANNELS)
    network.nodes[2].input[4] = "ones"
    for unread in ("bias", "y.scale", "y.var", "z.var"):
        network.initializers.pop(unread)
    assert_folds_to(network.model(inputs, ["z"]), "Conv")


def test_parameters_outside_the_raw_data_field():
    """Tensors may hold their numbers in typed fields; float16 as integers in int32_data."""
    network, inputs = conv_and_batch_norm()
    model = network.model(inputs, ["y"])
    for tensor in model.graph.initializer:
        values = numpy_helper.to_array(tensor)
        tensor.CopyFrom(helper.make_tensor(tensor.name, tensor.data_type, values.shape, values.reshape(-1)))
    assert_folds_to(model, "Conv")
    half = onnx.TensorProto(name="h", data_type=TensorProto.FLOAT16, dims=[2], int32_data=[0x3C00, 0xC000])
    assert TensorStore(None).read(half).tolist() == [1.0, -2.0]
