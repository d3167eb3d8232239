"""Who else reads a tensor: a fold changes what one node computes, and nobody else may notice."""

import numpy as np
import pytest
from onnx import numpy_helper

from bnfold.refusal import Reason
from tests.folding import count, fold, fold_and_compare
from tests.networks import Network

INPUT = {"x": [2, 3, 4, 4]}


def conv(network: Network, source: str, output: str, *, weight: str | None = None, channels: int = 3) -> str:
    """A 1x1 Conv from 3 channels, with a weight of its own unless one is named."""
    weight = weight or network.weight(f"{output}.weight", channels, 3, 1, 1)
    return network.node("Conv", [source, weight], output)


def test_another_node_reads_the_conv():
    network = Network()
    network.batch_norm(conv(network, "x", "c"), "y", 3)
    network.node("Relu", ["c"], "z")
    folded = fold_and_compare(network.model(INPUT, ["y", "z"]))
    assert folded.reasons == [Reason.OTHER_CONSUMERS]
    assert folded.kept[0].refusals[0].path == ("y_node", "c_node")
    assert "'z_node' (Relu)" in folded.kept[0].refusals[0].evidence


def test_two_batch_norms_read_one_conv():
    network = Network()
    conv(network, "x", "c")
    network.batch_norm("c", "y", 3)
    network.batch_norm("c", "z", 3)
    folded = fold_and_compare(network.model(INPUT, ["y", "z"]))
    assert folded.reasons == [Reason.OTHER_CONSUMERS] * 2


@pytest.mark.parametrize("op_type", ["Add", "Sub"])
def test_a_sum_of_a_tensor_with_itself_is_two_uses(op_type):
    """Each gets half of the shift; a difference has no shift at all."""
    network = Network()
    conv(network, "x", "c")
    network.batch_norm(network.node(op_type, ["c", "c"], "s"), "y", 3)
    reasons = fold_and_compare(network.model(INPUT, ["y"])).reasons
    assert reasons == ([] if op_type == "Add" else [Reason.OTHER_CONSUMERS])


@pytest.mark.parametrize("op_type", ["Add", "Mul", "Sub", "Div"])
def test_a_batch_norm_read_twice_by_one_node(op_type):
    network = Network()
    network.batch_norm("x", "n", 3)
    network.node(op_type, ["n", "n"], "s")
    network.node("Relu", ["s"], "y")
    folded = fold_and_compare(network.model(INPUT, ["y"]))
    assert count(folded.model, "BatchNormalization") == 1


def test_a_product_of_a_conv_with_its_batch_norm():
    network = Network()
    conv(network, "x", "c")
    network.batch_norm("c", "n", 3)
    network.node("Mul", ["c", "n"], "y")
    assert fold_and_compare(network.model(INPUT, ["y"])).reasons == [Reason.OTHER_CONSUMERS]


def test_the_conv_is_also_a_graph_output():
    network = Network()
    network.batch_norm(conv(network, "x", "c"), "y", 3)
    folded = fold_and_compare(network.model(INPUT, ["y", "c"]))
    assert folded.reasons == [Reason.GRAPH_OUTPUT]


def test_the_batch_norm_is_a_graph_output_and_keeps_its_name():
    network = Network()
    network.batch_norm(conv(network, "x", "c"), "n", 3)
    network.node("Relu", ["n"], "y")
    folded = fold_and_compare(network.model(INPUT, ["n", "y"]))
    assert [(node.op_type, node.name) for node in folded.model.graph.node] == [("Conv", "c_node"), ("Relu", "y_node")]
    assert folded.model.graph.node[0].output == ["n"]


def test_an_output_listed_twice_stays_twice():
    network = Network()
    network.batch_norm(conv(network, "x", "c"), "y", 3)
    model = network.model(INPUT, ["y"])
    model.graph.output.append(model.graph.output[0])
    folded = fold(model)
    assert [entry.name for entry in folded.model.graph.output] == ["y", "y"]
    assert folded.batch_norms_left == 0


def test_a_batch_norm_whose_output_nobody_reads():
    network = Network()
    conv(network, "x", "y")
    network.batch_norm("x", "dead", 3)
    folded = fold_and_compare(network.model(INPUT, ["y"]))
    assert [refusal.reason for refusal in folded.kept[0].refusals] == [Reason.GRAPH_INPUT, Reason.NO_READER]


def test_a_batch_norm_on_an_initializer():
    network = Network()
    network.weight("k", 2, 3, 4, 4)
    network.batch_norm("k", "n", 3)
    network.node("Add", ["x", "n"], "y")
    folded = fold_and_compare(network.model(INPUT, ["y"]))
    assert folded.reasons == [Reason.CONSTANT]


@pytest.mark.parametrize("op_type", ["initializer", "Constant", "ConstantOfShape"])
def test_a_constant_branch_is_called_that(op_type):
    """Not "from outside": nobody gives it."""
    network = Network()
    values = network.random.normal(size=(2, 2, 4, 4)).astype(np.float32)
    if op_type == "initializer":
        network.constant("k", values)
    elif op_type == "Constant":
        network.node("Constant", [], "k", value=numpy_helper.from_array(values))
    else:
        network.node("ConstantOfShape", [network.constant("lengths", [2, 2, 4, 4], "int64")], "k")
    network.node("Conv", ["x", network.weight("w", 2, 3, 1, 1)], "c")
    network.node("Sum", ["k", "c"], "joined")
    network.batch_norm("joined", "y", 2)
    network.constant("y.scale", [2.0, 1.0])
    folded = fold_and_compare(network.model(INPUT, ["y"]))
    assert folded.reasons == [Reason.CONSTANT]
    assert folded.kept[0].refusals[0].evidence == "'k' is a constant"


def test_a_batch_norm_between_input_and_output():
    network = Network()
    network.batch_norm("x", "y", 3)
    folded = fold_and_compare(network.model(INPUT, ["y"]))
    assert [refusal.reason for refusal in folded.kept[0].refusals] == [Reason.GRAPH_INPUT, Reason.GRAPH_OUTPUT]


@pytest.mark.parametrize("shared", ["scale", "bias", "mean", "var"])
def test_batch_norms_that_share_a_parameter(shared):
    """One is folded and one stays: the parameter must outlive the first."""
    network = Network()
    network.batch_norm(conv(network, "x", "c"), "y", 3)
    network.batch_norm("x", "z", 3)
    position = ["scale", "bias", "mean", "var"].index(shared) + 1
    del network.initializers[f"z.{shared}"]
    network.nodes[-1].input[position] = f"y.{shared}"
    folded = fold_and_compare(network.model(INPUT, ["y", "z"]))
    assert [entry.node for entry in folded.folds] == ["y_node"]
    names = {tensor.name for tensor in folded.model.graph.initializer}
    assert {name for name in names if name.startswith("y.")} == {f"y.{shared}"}


def test_a_batch_norm_that_takes_a_map_while_it_shares_its_parameters():
    network = Network()
    network.batch_norm("x", "n", 3)
    network.batch_norm("n", "y", 3)
    shared = list(network.nodes[-1].input[1:])
    network.node("BatchNormalization", ["x", *shared], "z")
    folded = fold_and_compare(network.model(INPUT, ["y", "z"]))
    assert count(folded.model, "BatchNormalization") == 2


def test_one_vector_for_all_four_parameters():
    network = Network()
    network.constant("p", [0.5, 2.0, 1.25])
    network.node("BatchNormalization", ["x", "p", "p", "p", "p"], "n")
    network.node("BatchNormalization", ["n", "p", "p", "p", "p"], "m")
    network.node("BatchNormalization", [conv(network, "m", "c"), "p", "p", "p", "p"], "y")
    folded = fold_and_compare(network.model(INPUT, ["y"]))
    assert count(folded.model, "BatchNormalization") == 0


def test_a_bias_that_is_also_the_mean_of_the_batch_norm():
    network = Network()
    network.weight("shared", 3)
    network.node("Conv", ["x", network.weight("w", 3, 3, 1, 1), "shared"], "c")
    network.batch_norm("c", "y", 3)
    network.nodes[-1].input[3] = "shared"
    del network.initializers["y.mean"]
    assert fold_and_compare(network.model(INPUT, ["y"])).batch_norms_left == 0


def test_a_weight_that_is_also_a_graph_output():
    network = Network()
    network.batch_norm(conv(network, "x", "c"), "y", 3)
    folded = fold_and_compare(network.model(INPUT, {"y": [2, 3, 4, 4], "c.weight": [3, 3, 1, 1]}))
    assert folded.batch_norms_left == 0


def test_a_parameter_that_is_also_a_graph_output():
    network = Network()
    network.batch_norm(conv(network, "x", "c"), "y", 3)
    folded = fold_and_compare(network.model(INPUT, {"y": [2, 3, 4, 4], "y.mean": [3]}))
    assert folded.batch_norms_left == 0


def test_a_constant_that_is_input_and_weight_of_one_conv():
    network = Network()
    network.weight("k", 3, 3, 1, 1)
    network.batch_norm(network.node("Conv", ["k", "k"], "c"), "n", 3)
    network.node("Add", ["x", "n"], "y")
    folded = fold_and_compare(network.model({"x": [3, 3, 1, 1]}, ["y"]))
    assert folded.batch_norms_left == 0


def test_weights_made_from_one_initializer_by_different_nodes():
    """Sharing behind Identity and Transpose: each reader gets its own weight, the source keeps its values."""
    network = Network()
    network.weight("w", 3, 3)
    network.node("Identity", ["w"], "w1")
    network.node("Transpose", ["w"], "w2")
    network.batch_norm(network.node("MatMul", ["x", "w1"], "m1"), "y", 3)
    network.batch_norm(network.node("MatMul", ["x", "w2"], "m2"), "z", 3)
    network.batch_norm(network.node("Gemm", ["x", "w1"], "m3"), "u", 3)
    folded = fold_and_compare(network.model({"x": [4, 3]}, {"y": [4, 3], "z": [4, 3], "u": [4, 3], "w": [3, 3]}))
    assert folded.batch_norms_left == 0


def test_one_constant_of_many_arithmetic_nodes():
    network = Network()
    network.constant("k", np.array([0.5, -3.0, 2.0]).reshape(3, 1, 1))
    network.node("Mul", [conv(network, "x", "c"), "k"], "m")
    network.node("Add", ["m", "k"], "a")
    network.node("Sub", ["k", "a"], "s")
    network.batch_norm(network.node("Div", ["s", "k"], "d"), "y", 3)
    network.node("Mul", ["x", "k"], "z")
    folded = fold_and_compare(network.model(INPUT, ["y", "z"]))
    assert [node.op_type for node in folded.model.graph.node] == ["Conv", "Mul"]


def test_an_overridable_weight_is_not_overridden_for_half_of_its_readers():
    """A caller who gives another `w` must reach both Convs or, with an error, none."""
    network = Network()
    network.weight("w", 3, 3, 1, 1)
    network.batch_norm(conv(network, "x", "c", weight="w"), "y", 3)
    conv(network, "x", "z", weight="w")
    folded = fold(network.model(INPUT, ["y", "z"], overridable=True))
    inputs = {entry.name for entry in folded.model.graph.input}
    assert not folded.folds or "w" not in inputs


def test_an_input_with_a_default_value_stays_an_input():
    """The fold removes a BN that reads `x` as its activation: it has not used the default."""
    network = Network()
    network.constant("x", np.zeros((2, 3, 4, 4)))
    network.batch_norm("x", "n", 3)
    network.batch_norm("n", "m", 3)
    network.node("Relu", ["m"], "y")
    folded = fold_and_compare(network.model(INPUT, ["y"]))
    assert folded.batch_norms_left == 1
    assert [entry.name for entry in folded.model.graph.input] == ["x"]


def test_shape_queries_do_not_hold_a_tensor():
    network = Network()
    network.node("Shape", [conv(network, "x", "c")], "s")
    network.batch_norm("c", "n", 3)
    network.node("Reshape", ["n", "s"], "y")
    assert fold_and_compare(network.model(INPUT, ["y"])).batch_norms_left == 0


def test_a_shape_query_of_a_constant_that_grows():
    """A scalar that takes a map per column becomes a vector; who asks for its shape must still get the scalar's."""
    network = Network()
    network.node("MatMul", ["x", network.weight("w", 4, 5)], "m")
    network.node("Add", ["m", network.constant("k", 3.0)], "a")
    network.node("Mul", ["a", network.weight("v", 5)], "y")
    network.node("ConstantOfShape", [network.node("Shape", ["k"], "s")], "z")
    folded = fold_and_compare(network.model(INPUT, ["y", "z"]))
    assert count(folded.model, "Mul") == 0


def test_two_thousand_batch_norms_in_a_row():
    network = Network()
    network.constant("scale", [1.001, -0.999, 1.0])
    network.constant("bias", [0.01, -0.02, 0.0])
    network.constant("mean", [0.01, 0.03, 0.0])
    network.constant("var", [1.0, 0.9999, 1.0001])
    tensor = conv(network, "x", "c")
    for position in range(2000):
        tensor = network.node("BatchNormalization", [tensor, "scale", "bias", "mean", "var"], f"n{position}")
    # The original rounds two thousand times: the root of that many halves of a float32 is 3e-6, their sum 1e-4.
    folded = fold_and_compare(network.model(INPUT, [tensor]), relative=1e-4)
    assert [node.op_type for node in folded.model.graph.node] == ["Conv"]


def test_exclude_leaves_the_named_ones_alone():
    network = Network()
    network.batch_norm(conv(network, "x", "c"), "block1.bn", 3)
    network.batch_norm(conv(network, "block1.bn", "d"), "block2.bn", 3)
    network.batch_norm(conv(network, "block2.bn", "e"), "head", 3)
    folded = fold_and_compare(network.model(INPUT, ["head"]), exclude=["block2.*", "head_nod"])
    assert folded.reasons == [Reason.EXCLUDED]
    assert [entry.node for entry in folded.folds] == ["block1.bn_node", "head_node"]


def test_batch_norms_alone():
    network = Network()
    network.node("Mul", [conv(network, "x", "c"), network.weight("k", 3, 1, 1)], "m")
    network.node("Relu", ["m"], "r")
    network.batch_norm(conv(network, "r", "d"), "y", 3)
    folded = fold_and_compare(network.model(INPUT, ["y"]), affine=False)
    assert [node.op_type for node in folded.model.graph.node] == ["Conv", "Mul", "Relu", "Conv"]
