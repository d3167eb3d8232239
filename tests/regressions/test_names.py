"""Names that collide, repeat or are absent: a new tensor gets a name that nobody has, an old one keeps its own."""

import numpy as np
import pytest
from onnx import TensorProto, helper

from tests.folding import fold, fold_and_compare
from tests.networks import Network
from tests.regressions.bodies import add_loop, function, loop_body

SHAPE = [2, 3, 4, 4]
TAKEN = ["w_bias", "w_bias_2", "w_folded", "b", "c_node_bias", "y_before_bias"]


def initializers(model):
    return {tensor.name: tensor for tensor in model.graph.initializer}


@pytest.mark.parametrize("shared", [True, False])
def test_initializers_that_already_have_the_wanted_names(shared):
    network = Network()
    for name in TAKEN:
        network.node("Relu", [network.weight(name, 1)], f"use.{name}")
    network.batch_norm(network.node("Conv", ["x", network.weight("w", 3, 3, 1, 1)], "c"), "y", 3)
    if shared:
        network.node("Conv", ["x", "w"], "z")
    outputs = {f"use.{name}": [1] for name in TAKEN} | {"y": SHAPE} | ({"z": SHAPE} if shared else {})
    folded = fold_and_compare(network.model({"x": SHAPE}, outputs))
    assert folded.batch_norms_left == 0
    before, after = initializers(folded.original), initializers(folded.model)
    assert all(after[name] == before[name] for name in TAKEN)


@pytest.mark.parametrize("taken", ["w_bias", "y_before_bias"])
def test_the_wanted_name_is_taken_by_an_activation(taken):
    network = Network()
    network.node("Neg", ["x"], taken)
    network.batch_norm(network.node("MatMul", ["x", network.weight("w", 4, 5)], "c"), "y", 1)
    folded = fold_and_compare(network.model({"x": [2, 1, 4]}, ["y", taken]))
    assert folded.batch_norms_left == 0


def test_the_wanted_name_is_taken_in_a_body():
    """A tensor of the main graph with the name of one of a body would be shadowed there, or be refused."""
    network = Network()
    network.batch_norm(network.node("Conv", ["x", network.weight("w", 3, 3, 1, 1)], "c"), "n", 3)
    inner = Network()
    inner.node("Mul", ["state", inner.constant("w_bias", -2.0)], "result")
    add_loop(network, "n", "y", loop_body(inner, "state", "result", SHAPE))
    folded = fold_and_compare(network.model({"x": SHAPE}, {"y": SHAPE}), affine=False)
    assert folded.batch_norms_left == 0


def test_the_wanted_name_is_taken_by_a_graph_input():
    network = Network()
    network.batch_norm(network.node("Conv", ["x", network.weight("w", 3, 3, 1, 1)], "c"), "n", 3)
    network.node("Add", ["n", "w_bias"], "y")
    assert fold_and_compare(network.model({"x": SHAPE, "w_bias": SHAPE}, ["y"])).batch_norms_left == 0


def test_the_wanted_name_is_taken_in_a_function():
    inner = Network()
    inner.node("Identity", ["w_bias"], "same")
    inner.batch_norm(inner.node("Conv", ["same", inner.weight("w", 3, 3, 1, 1)], "c"), "n", 3)
    local = function("local", "Block", ["w_bias"], ["n"], inner)
    network = Network()
    network.node("Block", ["x"], "y", domain="local")
    model = network.model({"x": SHAPE}, {"y": SHAPE}, functions=[local], domains={"local": 1})
    assert len(fold_and_compare(model).folds) == 1


@pytest.mark.parametrize("name", ["w_bias", "y_before_bias"])
def test_a_stale_value_info_has_the_wanted_name(name):
    """It describes a tensor that is long gone; onnxruntime would believe it of the new one."""
    network = Network()
    network.batch_norm(network.node("MatMul", ["x", network.weight("w", 4, 5)], "c"), "y", 1)
    model = network.model({"x": [2, 1, 4]}, ["y"])
    model.graph.value_info.append(helper.make_tensor_value_info(name, TensorProto.INT64, [7, 7]))
    folded = fold_and_compare(model)
    assert folded.batch_norms_left == 0
    present = {*initializers(folded.model), *(tensor for node in folded.model.graph.node for tensor in node.output)}
    assert not present & {entry.name for entry in folded.model.graph.value_info}


def test_nodes_without_names_are_reported_by_their_outputs():
    network = Network()
    network.batch_norm(network.node("Conv", ["x", network.weight("w", 3, 3, 1, 1)], "c", name=""), "y", 3, name="")
    network.batch_norm("x", "z", 3, name="")
    folded = fold_and_compare(network.model({"x": SHAPE}, ["y", "z"]))
    assert [entry.node for entry in folded.folds] == ["y"]
    assert [entry.node for entry in folded.kept] == ["z"]


def test_labels_are_those_before_the_fold():
    """A fold upstream gives its output's name to the node before it; what was "y into y" is "y into c"."""
    network = Network()
    network.node("Conv", ["x", network.weight("w", 3, 3, 1, 1)], "c", name="")
    network.node("MaxPool", ["c"], "p", name="", kernel_shape=[1, 1])
    network.node("Mul", ["p", network.constant("two", 2.0)], "m", name="")
    network.batch_norm(network.node("Transpose", ["m"], "t", name="", perm=[0, 1, 3, 2]), "y", 3, name="")
    network.constant("y.scale", [0.5, 1.0, 2.0])
    network.node("Relu", ["y"], "z", name="")
    folded = fold_and_compare(network.model({"x": SHAPE}, ["z"]))
    assert [(entry.node, entry.into, entry.through) for entry in folded.folds] == [
        ("m", ("c",), ("p",)),
        ("y", ("c",), ("t", "p")),
    ]
    assert [name.op for entry in folded.folds for name in (*entry.into, *entry.through)] == [
        "Conv",
        "MaxPool",
        "Conv",
        "Transpose",
        "MaxPool",
    ]


def test_removed_identities_are_said_to_be_that():
    network = Network()
    network.node("Conv", ["x", network.weight("w", 3, 3, 1, 1)], "c")
    network.node("Mul", ["c", network.constant("one", 1.0)], "m")
    network.node("Relu", ["m"], "r")
    network.node("Add", ["r", network.constant("zero", np.zeros((3, 1, 1)))], "a")
    network.node("Sigmoid", ["a"], "y")
    folded = fold_and_compare(network.model({"x": SHAPE}, ["y"]))
    assert [(entry.node, entry.direction, entry.into) for entry in folded.folds] == [
        ("m_node", "removed", ()),
        ("a_node", "removed", ()),
    ]
    assert all(entry.is_identity for entry in folded.folds)


def test_nodes_that_share_a_name():
    """ONNX allows it (onnxruntime does not): nodes are told apart as nodes, not by name."""
    network = Network()
    network.node("Conv", ["x", network.weight("w", 3, 3, 1, 1)], "c", name="node")
    network.batch_norm("c", "y", 3, name="node")
    network.batch_norm("x", "z", 3, name="node")
    folded = fold(network.model({"x": SHAPE}, ["y", "z"]))
    assert [node.op_type for node in folded.model.graph.node] == ["Conv", "BatchNormalization"]


def test_a_new_node_has_a_name_of_its_own():
    """onnxruntime refuses a model in which two nodes share a name."""
    network = Network()
    network.node("Relu", ["x"], "r", name="c_node_bias")
    network.batch_norm(network.node("MatMul", ["r", network.weight("w", 4, 5)], "c"), "y", 1)
    folded = fold_and_compare(network.model({"x": [2, 1, 4]}, ["y"]))
    names = [node.name for node in folded.model.graph.node]
    assert len(names) == len(set(names)) == 3


@pytest.mark.parametrize("name", ["", " ", "a/b:0", "ünïcode", "%s{0}", "w" * 300])
def test_odd_names(name):
    network = Network()
    network.node("Conv", ["x", network.weight(f"{name}weight", 3, 3, 1, 1)], f"{name}c", name=name)
    network.batch_norm(f"{name}c", f"{name}y", 3)
    folded = fold_and_compare(network.model({"x": SHAPE}, [f"{name}y"]))
    assert folded.batch_norms_left == 0
    assert f"{name}bias" in initializers(folded.model)


def test_two_folds_of_one_shared_weight_get_two_names():
    network = Network()
    network.weight("w", 3, 3, 1, 1)
    for position in range(3):
        network.batch_norm(network.node("Conv", ["x", "w"], f"c{position}"), f"y{position}", 3)
    network.node("Conv", ["x", "w"], "plain")
    folded = fold(network.model({"x": SHAPE}, ["y0", "y1", "y2", "plain"]))
    weights = [node.input[1] for node in folded.model.graph.node]
    biases = [node.input[2] for node in folded.model.graph.node if len(node.input) > 2]
    assert len(set(weights)) == 4
    assert len(set(biases)) == 3
