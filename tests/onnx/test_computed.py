"""Constants that the graph computes: parameters, weights and factors made of initializers alone."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from bnfold.refusal import Reason
from tests.folding import fold, fold_and_compare
from tests.networks import Network
from tests.onnx.checks import assert_folds_to, assert_stays, initializer_shapes, operators

SHAPE = (2, 3, 6, 6)


def conv(network, output="c", dtype="float32"):
    return network.node("Conv", ["x", network.weight("w", 4, 3, 3, 3, dtype=dtype)], output)


def frozen_batch_norm(network, source, output, dtype="float32"):
    """As torchvision's FrozenBatchNorm2d is exported without constant folding."""
    positive = np.abs(network.random.normal(size=4)) + 0.1
    network.constant("variance", positive, dtype)
    network.constant("eps", 1e-5, dtype)
    for name in ("gamma", "beta", "mean"):
        network.weight(name, 4, dtype=dtype)
    network.constant("shape", [1, 4, 1, 1], "int64")
    for name in ("gamma", "beta", "mean", "variance"):
        network.node("Reshape", [name, "shape"], f"{name}4")
    network.node("Add", ["variance4", "eps"], "v")
    network.node("Div", ["gamma4", network.node("Sqrt", ["v"], "deviation")], "scale")
    network.node("Sub", ["beta4", network.node("Mul", ["mean4", "scale"], "moved")], "shift")
    return network.node("Add", [network.node("Mul", [source, "scale"], f"{output}.scaled"), "shift"], output)


@pytest.mark.parametrize("dtype", ["float16", "float32"])
@pytest.mark.parametrize("opset", [7, 13, 17])
def test_a_frozen_batch_norm_written_out(opset, dtype):
    network = Network(opset)
    frozen_batch_norm(network, conv(network, dtype=dtype), "y", dtype)
    folded = assert_folds_to(network.model({"x": SHAPE}, ["y"], dtype=dtype), "Conv")
    assert set(initializer_shapes(folded.model).values()) == {(4, 3, 3, 3), (4,)}


def test_parameters_of_a_batch_norm():
    """tf2onnx and others: the scale is made at run time out of what training left."""
    network = Network()
    conv(network)
    network.batch_norm("c", "y", 4)
    batch_norm = network.nodes.pop()
    network.node("Mul", ["y.scale", network.constant("two", 2.0)], "doubled")
    network.node("Exp", [network.weight("log", 4)], "variance")
    batch_norm.input[1], batch_norm.input[4] = "doubled", "variance"
    network.nodes.append(batch_norm)
    assert_folds_to(network.model({"x": SHAPE}, ["y"]), "Conv")


def normalised_weight(network):
    network.weight("v", 4, 3, 3, 3)
    network.weight("g", 4, 1, 1, 1)
    norm = network.node("ReduceL2", ["v"], "norm", axes=[1, 2, 3], keepdims=1)
    return network.node("Mul", ["v", network.node("Div", ["g", norm], "ratio")], "w")


def test_a_normalised_weight():
    network = Network()
    network.node("Conv", ["x", normalised_weight(network)], "c")
    network.batch_norm("c", "y", 4)
    folded = assert_folds_to(network.model({"x": SHAPE}, ["y"]), "Conv")
    assert set(initializer_shapes(folded.model).values()) == {(4, 3, 3, 3), (4,)}


def test_a_computed_weight_with_another_reader_stays_for_that():
    network = Network()
    weight = normalised_weight(network)
    network.node("Conv", ["x", weight], "c")
    network.batch_norm("c", "y", 4)
    network.node("Conv", ["x", weight], "z")
    folded = fold_and_compare(network.model({"x": SHAPE}, ["y", "z"]))
    assert folded.batch_norms_left == 0
    assert operators(folded.model) == ["ReduceL2", "Div", "Mul", "Conv", "Conv"]


def test_a_computed_constant_that_is_an_output_stays():
    network = Network()
    frozen_batch_norm(network, conv(network), "y")
    folded = fold_and_compare(network.model({"x": SHAPE}, ["y", "scale"]))
    assert operators(folded.model) == ["Conv", "Reshape", "Reshape", "Add", "Sqrt", "Div"]


def test_what_no_fold_needs_stays_as_it_is():
    network = Network()
    network.node("Relu", ["x"], "r")
    network.node("MatMul", ["r", network.node("Neg", [network.weight("w", 6, 4)], "negative")], "y")
    model = network.model({"x": SHAPE}, ["y"])
    assert fold(model).model.SerializeToString() == model.SerializeToString()


@pytest.mark.parametrize(
    ("op", "more", "attributes"),
    [
        ("Where", ["mask", "f", "g"], {}),
        ("Pow", ["f", "two"], {}),
        ("Reciprocal", ["f"], {}),
        ("Max", ["f", "g"], {}),
        ("Clip", ["f", "low", "high"], {}),
        ("ReduceSum", ["square", "axis"], {"keepdims": 0}),
        ("Gather", ["square", "one"], {"axis": 0}),
        ("Einsum", ["f", "square"], {"equation": "c,cd->d"}),
        ("MatMul", ["f", "square"], {}),
        ("Pad", ["short", "pads"], {}),
        ("Tile", ["scalar", "four"], {}),
    ],
)
def test_factors_of_all_kinds(op, more, attributes):
    network = Network()
    for name in ("f", "g"):
        network.constant(name, network.random.uniform(0.5, 2, size=4))
    network.weight("square", 4, 4)
    network.weight("short", 3)
    network.constant("two", 2.0), network.constant("scalar", [3.0])
    network.constant("low", 0.8), network.constant("high", 1.5)
    network.constant("mask", [True, False, True, True], "bool")
    network.constant("axis", [1], "int64"), network.constant("one", 1, "int64")
    network.constant("pads", [0, 1], "int64"), network.constant("four", [4], "int64")
    network.initializers = {name: values for name, values in network.initializers.items() if name in more}
    network.node(op, more, "factor", **attributes)
    network.node("Gemm", ["x", network.weight("w", 5, 4)], "c")
    network.node("Mul", ["c", "factor"], "y")
    assert_folds_to(network.model({"x": (2, 5)}, ["y"]), "Gemm")


def test_inside_a_body_out_of_tensors_around_it():
    network = Network()
    network.weight("w", 4, 3, 1, 1)
    network.constant("gamma", [[[1.0]], [[-2.0]], [[0.0]], [[3.0]]])
    inner = Network()
    inner.node("Conv", ["x", "w"], "c")
    inner.node("Mul", ["c", inner.node("Exp", ["gamma"], "grown")], "y_in")
    out = helper.make_tensor_value_info("y_in", TensorProto.FLOAT, None)
    branch = helper.make_graph(inner.nodes, "then", [], [out])
    other = helper.make_graph([helper.make_node("Conv", ["x", "w"], ["y_in"])], "else", [], [out])
    network.node("If", ["condition"], "y", then_branch=branch, else_branch=other)
    model = network.model({"x": SHAPE, "condition": []}, ["y"])
    model.graph.input[1].type.tensor_type.elem_type = TensorProto.BOOL
    folded = fold_and_compare(model)
    assert [node.op_type for node in folded.model.graph.node[0].attribute[0].g.node if node.op_type != "Constant"] in (
        ["Conv"],
        [],
    )


def overridable_frozen_batch_norm():
    network = Network()
    frozen_batch_norm(network, conv(network), "y")
    return network.model({"x": SHAPE}, ["y"], overridable=True)


def test_what_the_caller_could_replace_is_no_input_any_more():
    folded = fold(overridable_frozen_batch_norm())
    assert operators(folded.model) == ["Conv"]
    assert [entry.name for entry in folded.model.graph.input] == ["x"]


def test_what_the_caller_may_replace_is_left_alone():
    folded = fold(overridable_frozen_batch_norm(), keep_overridable=True)
    assert folded.folds == ()


def test_what_is_made_of_a_factor_that_the_caller_still_may_replace():
    """One tensor feeds the fold and something else: for the other it is not free to change any more either."""
    network = Network()
    network.node("Exp", [network.weight("log", 4, 1, 1)], "factor")
    network.node("Mul", [conv(network), "factor"], "y")
    network.node("Add", ["log", "t"], "z")
    model = network.model({"x": SHAPE, "t": (1,)}, ["y", "z"], overridable=True)
    folded = fold(model)
    assert "log" not in [entry.name for entry in folded.model.graph.input]


@pytest.mark.parametrize("op", ["RandomNormalLike", "RandomUniformLike", "Bernoulli"])
def test_random_numbers_are_no_constants(op):
    network = Network()
    network.constant("like", np.full(4, 0.5))
    network.node(op, ["like"], "factor")
    network.node("Gemm", ["x", network.weight("w", 5, 4)], "c")
    network.node("Mul", ["c", "factor"], "y")
    assert fold(network.model({"x": (2, 5)}, ["y"])).folds == ()


def test_a_batch_norm_of_constants_is_left_to_the_runtime():
    """onnx's reference implementation takes the statistics of the batch before opset 14."""
    network = Network(9)
    network.batch_norm(network.weight("raw", 4, 3, 1, 1), "w", 3)
    network.node("Conv", ["x", "w"], "c")
    network.batch_norm("c", "y", 4)
    folded = fold_and_compare(network.model({"x": SHAPE}, ["y"]))
    assert Reason.DYNAMIC_WEIGHT in folded.reasons


def test_small_files_that_ask_for_much():
    network = Network()
    network.constant("one", [1.0])
    source = "one"
    for number in range(40):
        source = network.node("Tile", [source, network.constant(f"n{number}", [4], "int64")], f"t{number}")
    network.node("Add", [conv(network), source], "y")
    model = network.model({"x": SHAPE}, {"y": [None]}, check=False)
    assert fold_without_check(model).folds == ()


def test_a_range_without_end_is_not_computed():
    network = Network()
    for name, value in (("start", 0), ("end", 1e12), ("step", 1)):
        network.constant(name, value)
    network.node("Range", ["start", "end", "step"], "factors")
    network.node("Mul", [conv(network), "factors"], "y")
    assert fold_without_check(network.model({"x": SHAPE}, {"y": [None]}, check=False)).folds == ()


def fold_without_check(model):
    from bnfold.engine import fold_graph
    from bnfold.frontends.onnx.port import OnnxPort
    from bnfold.frontends.onnx.storage import TensorStore

    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    return fold_graph(OnnxPort(copy, TensorStore(None)), affine_nodes=True)


def test_the_evidence_names_what_cannot_be_computed():
    network = Network()
    network.node("Neg", ["given"], "negative")
    network.node("Exp", ["negative"], "w")
    network.batch_norm(network.node("Conv", ["x", "w"], "c"), "y", 4)
    model = network.model({"x": SHAPE, "given": (4, 3, 1, 1)}, ["y"])
    assert_stays(model, Reason.DYNAMIC_WEIGHT, "'w' is computed by 'w_node' (Exp)")


def test_a_changed_weight_asks_only_constants_what_is_made_of_them():
    """Behind it are more ways through the residual network than could be walked."""
    network = Network()
    network.node("Mul", [network.weight("raw", 3, 3, 1, 1), network.weight("factor", 3, 1, 1, 1)], "kernel")
    x = network.node("Conv", ["x", "kernel"], "stem")
    for block in range(80):
        y = network.batch_norm(
            network.node("Conv", [x, network.weight(f"w{block}", 3, 3, 1, 1)], f"c{block}"), f"n{block}", 3
        )
        x = network.node("Add", [x, y], f"s{block}")
    folded = fold(network.model({"x": [1, 3, 2, 2]}, [x]))
    assert folded.batch_norms_left == 0
