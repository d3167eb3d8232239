"""Ranks and lengths that inference leaves open, and single operators tell."""

import pytest
from onnx import TensorProto, helper

from bnfold.frontends.onnx.constants import OnnxConstants
from bnfold.frontends.onnx.indexing import index_model
from bnfold.frontends.onnx.ranks import complete_shapes
from bnfold.frontends.onnx.shapes import infer_shapes
from bnfold.frontends.onnx.storage import TensorStore
from bnfold.refusal import Reason
from tests.folding import fold, fold_and_compare
from tests.networks import Network
from tests.onnx.checks import assert_folds_to, operators

SHAPE = {"x": (2, 4, 6, 6, 3)}


def channels_last_3d(network, way, rest):
    """A BatchNorm over 5-d channels-last tensors: merged to 4-d and back by lengths that are read at run time."""
    network.node("Transpose", ["x"], "first", perm=[0, 4, 1, 2, 3])
    network.node("Conv", ["first", network.weight("w", 5, 3, 3, 3, 3)], "c", pads=[1] * 6)
    network.node("Transpose", ["c"], "last", perm=[0, 2, 3, 4, 1])
    network.node("Shape", ["last"], "lengths")
    network.node("Concat", [first_length(network, way), network.constant("rest", rest, "int64")], "merged", axis=0)
    network.node("Reshape", ["last", "merged"], "image")
    network.node("Transpose", ["image"], "moved", perm=[0, 3, 1, 2])
    network.batch_norm("moved", "normal", 5)
    network.node("Transpose", ["normal"], "back", perm=[0, 2, 3, 1])
    network.node("Reshape", ["back", "lengths"], "y")
    return network.model({"x": ("batch", 4, 6, 6, 3)}, {"y": ("batch", 4, 6, 6, 5)})


def first_length(network, way):
    """The length of the first axis, out of the tensor "lengths"."""
    if way == "slice":
        bounds = [network.constant(name, [value], "int64") for name, value in (("from", 0), ("to", 1), ("axis", 0))]
        return network.node("Slice", ["lengths", *bounds], "batch")
    if way == "old slice":
        return network.node("Slice", ["lengths"], "batch", starts=[0], ends=[1])
    if way == "gather of a vector":
        return network.node("Gather", ["lengths", network.constant("place", [-5], "int64")], "batch")
    picked = network.node("Gather", ["lengths", network.constant("place", 0, "int64")], "picked")
    wide = network.node("Cast", [picked], "narrow", to=TensorProto.INT32)
    wide = network.node("Cast", [wide], "wide", to=TensorProto.INT64)
    if network.opset < 13:
        return network.node("Unsqueeze", [wide], "batch", axes=[0])
    return network.node("Unsqueeze", [wide, network.constant("axes", [0], "int64")], "batch")


@pytest.mark.parametrize(
    ("opset", "way"),
    [(17, "slice"), (11, "slice"), (9, "old slice"), (17, "gather of a vector"), (17, "number"), (9, "number")],
)
@pytest.mark.parametrize("rest", [[24, 6, 5], [-1, 6, 5], [24, -1, 5]], ids=str)
def test_lengths_that_a_graph_reads_off_a_shape(opset, way, rest):
    folded = fold_and_compare(channels_last_3d(Network(opset), way, rest), SHAPE)
    assert folded.batch_norms_left == 0


def test_the_rank_behind_a_reshape_whose_numbers_are_not_known():
    """Below opset 14, inference says nothing there."""
    network = Network(11)
    network.node("Conv", ["x", network.weight("w", 4, 3, 1, 1)], "c")
    network.node("Shape", ["c"], "lengths")
    network.node("Mul", ["lengths", network.constant("ones", [1, 1, 1, 1], "int64")], "same")
    network.node("Reshape", ["c", "same"], "r")
    network.node("Relu", ["r"], "positive")
    network.batch_norm("positive", "n", 4)
    network.node("Conv", ["n", network.weight("v", 2, 4, 1, 1)], "y")
    folded = fold_and_compare(network.model({"x": (2, 3, 5, 5)}, {"y": (2, 2, 5, 5)}))
    assert folded.batch_norms_left == 0


def foreign(network, source, output):
    network.nodes.append(helper.make_node("Gelu", [source], [output], domain="com.example", name=f"{output}_node"))


READERS = {
    "Conv": (("w", 5, 4, 1, 1), {}),
    "ConvTranspose": (("w", 4, 5, 1, 1), {}),
    "Gemm": (("w", 4, 5), {}),
}


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("between", [[], ["Identity"]], ids=str)
def test_behind_an_operator_of_another_domain_the_reader_says_the_rank(reader, between):
    network = Network()
    foreign(network, "x", "f")
    network.batch_norm("f", "n", 4)
    source = network.node(between[0], ["n"], "same") if between else "n"
    weight, attributes = READERS[reader]
    network.node(reader, [source, network.weight(*weight)], "y", **attributes)
    shape = ("a", "b") if reader == "Gemm" else ("a", "b", "c", "d")
    model = network.model({"x": shape}, {"y": shape}, domains={"com.example": 1})
    assert fold(model).batch_norms_left == 0


def test_behind_an_operator_of_another_domain_nobody_else_says_the_rank():
    network = Network()
    foreign(network, "x", "f")
    network.batch_norm("f", "n", 4)
    network.node("MatMul", ["n", network.weight("w", 4, 5)], "y")
    model = network.model({"x": (2, 4)}, {"y": ("a", "b")}, domains={"com.example": 1})
    assert fold(model).reasons == [Reason.FOREIGN_DOMAIN]


def test_a_declared_shape_that_is_wrong_is_not_believed_beside_what_is_known():
    network = Network(11)
    network.node("Conv", ["x", network.weight("w", 4, 3, 1, 1)], "c")
    network.batch_norm("c", "y", 4)
    model = network.model({"x": (2, 3, 5, 5)}, {"y": (2, 4, 5, 5)})
    model.graph.value_info.append(helper.make_tensor_value_info("c", TensorProto.FLOAT, (2, 4)))
    assert operators(fold_and_compare(model).model) == ["Conv"]


@pytest.mark.parametrize("behind", [True, False])
def test_a_map_repeats_over_a_reshape_to_rows_of_a_fixed_length(behind):
    """(n, 8) becomes (-1, 4): each row is two rows."""
    network = Network()
    network.constant("short", [-1, 4], "int64"), network.constant("long", [-1, 8], "int64")
    if behind:
        network.node("Gemm", ["x", network.weight("w", 6, 8), network.weight("c", 8)], "g")
        network.node("Reshape", ["g", "short"], "r")
        network.node("Sigmoid", [network.batch_norm("r", "b", 4)], "y")
        inputs, left = {"x": ("n", 6)}, ["Gemm", "Reshape", "Sigmoid"]
    else:
        network.node("Reshape", ["x", "short"], "r")
        network.node("Reshape", [network.batch_norm("r", "b", 4), "long"], "l")
        network.node("Gemm", ["l", network.weight("w", 8, 3), network.weight("c", 3)], "y")
        inputs, left = {"x": ("n", 8)}, ["Reshape", "Reshape", "Gemm"]
    assert_folds_to(network.model(inputs, {"y": ["m", "k"]}), *left)


def test_a_scaler_makes_float32_which_inference_does_not_say():
    """Without the type of what it makes, inference knows no shape behind the product."""
    network = Network(13)
    features = {"offset": [0.5, -1.0, 2.0], "scale": [2.0, -0.5, 1.5]}
    network.node("Scaler", ["x"], "scaled", domain="ai.onnx.ml", **features)
    network.node("Sigmoid", ["scaled"], "s")
    network.node("MatMul", ["s", network.weight("w", 3, 4)], "m")
    network.node("Transpose", ["m"], "t", perm=[0, 1])
    network.batch_norm("t", "y", 4)
    model = network.model({"x": (2, 3)}, {"y": (2, 4)}, domains={"ai.onnx.ml": 3})
    assert fold_and_compare(model).batch_norms_left == 0


def test_types_are_found_behind_several_operators_of_another_domain():
    """The Gemm tells its shape before anybody knows its type; what stands behind the Resize needs both."""
    network = Network(13)
    network.node("FusedGemm", ["x", network.weight("w", 3, 6)], "a", domain="com.microsoft", activation="Relu")
    network.node("ReduceSum", ["a", network.constant("axes", [0], "int64")], "b", keepdims=1)
    network.node("Gemm", ["b", network.weight("v", 6, 5)], "c")
    network.node("FusedMatMul", ["c", network.weight("u", 5, 4)], "d", domain="com.microsoft")
    network.node("Gemm", ["d", network.weight("q", 4, 4)], "e")
    network.node("Pad", ["e", network.constant("pads", [0, 0, 1, 0], "int64")], "f", mode="edge")
    network.batch_norm("f", "y", 4)
    model = network.model({"x": (2, 3)}, {"y": (2, 4)}, domains={"com.microsoft": 1}, check=False)
    assert fold_and_compare(model).batch_norms_left == 0


def test_what_was_learned_once_is_not_forgotten_when_more_is():
    """Two operators that inference does not know, each needed for the Concat behind them, found in different rounds."""
    network = Network(13)
    network.node("FusedConv", ["x", network.weight("w", 4, 3, 1, 1)], "a", domain="com.microsoft")
    network.node("Resize", ["a", "", network.constant("up", [1, 1, 2, 2.0])], "b")
    network.node("QuickGelu", ["b"], "c", domain="com.microsoft")
    network.node("Resize", ["a", "", "up"], "d")
    network.node("Concat", ["c", "d"], "e", axis=1)
    network.node("Sigmoid", ["e"], "y")
    model = network.model({"x": (2, 3, 4, 4)}, {"y": (2, 8, 8, 8)}, domains={"com.microsoft": 1}, check=False)
    index = index_model(model)
    infer_shapes(index)
    complete_shapes(index, OnnxConstants(TensorStore(None)))
    assert [index.main.values[name].shape[1] for name in ("e", "y")] == [8, 8]
