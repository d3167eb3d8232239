"""Legal models on which other tools crash, write an invalid file, or leave a BatchNorm without a word."""

import ml_dtypes
import numpy as np
import pytest
from onnx import TensorProto, numpy_helper

from bnfold.refusal import Reason
from tests.folding import fold, fold_and_compare
from tests.networks import Network

PARAMETERS = ("scale", "bias", "mean", "var")


def test_another_initializer_already_has_the_name_of_the_new_bias():
    """onnxscript 0.7.2 overwrites an initializer that is already called `W_bias`: a dangling input."""
    network = Network()
    network.batch_norm(network.node("Conv", ["x", network.weight("W", 4, 3, 1, 1)], "c"), "n", 4)
    network.node("Mul", ["n", network.weight("W_bias", 4, 1, 1)], "m")
    network.node("Sigmoid", ["m"], "y")
    folded = fold_and_compare(network.model({"x": [2, 3, 4, 4]}, ["y"]), affine=False)
    assert folded.batch_norms_left == 0
    assert _initializer(folded.model, "W_bias") == _initializer(folded.original, "W_bias")


def test_an_absent_bias_spelled_as_an_empty_name():
    """onnxscript 0.7.2, Conv inputs `[X, W, ""]`: AttributeError."""
    network = Network()
    network.batch_norm(network.node("Conv", ["x", network.weight("w", 4, 3, 1, 1), ""], "c"), "y", 4)
    assert fold_and_compare(network.model({"x": [2, 3, 4, 4]}, ["y"])).batch_norms_left == 0


def test_float16_conv_with_float32_batch_norm_keeps_its_weight_float16():
    """onnxscript 0.7.2 makes the float16 weight float32 (checker rejects); onnxsim, OnnxSlim, onnxoptimizer abort."""
    network = Network()
    network.node("Conv", ["x", network.weight("w", 4, 3, 1, 1, dtype="float16")], "c")
    network.batch_norm("c", "y", 4, dtype="float32")
    folded = fold_and_compare(network.model({"x": [2, 3, 4, 4]}, ["y"], dtype="float16"))
    assert folded.batch_norms_left == 0
    assert {tensor.data_type for tensor in folded.model.graph.initializer} == {TensorProto.FLOAT16}


def test_batch_norm_with_statistics_per_pixel():
    """onnxscript 0.7.2, onnxsim, OnnxSlim, onnxoptimizer: the whole run aborts on BN-7 with spatial=0."""
    network = Network(opset=7, ir_version=3)
    network.node("Conv", ["x", network.weight("w", 4, 3, 1, 1)], "c")
    network.batch_norm("c", "y", 4, spatial=0)
    for name in PARAMETERS:
        network.constant(f"y.{name}", np.ones((4, 2, 2)))
    model = network.model({"x": [2, 3, 2, 2]}, ["y"], overridable=True)
    folded = fold(model)
    assert folded.reasons == [Reason.NOT_SPATIAL]
    assert folded.model == model


def test_bfloat16():
    """onnxscript 0.7.2, onnxsim, OnnxSlim, onnxoptimizer: the run aborts, or an invalid file, on bfloat16."""
    network = Network(opset=22)
    network.node("Conv", ["x", network.weight("w", 4, 3, 1, 1, dtype="bfloat16")], "c")
    network.batch_norm("c", "y", 4, dtype="bfloat16")
    values = {name: array.astype(np.float64) for name, array in network.initializers.items()}
    folded = fold(network.model({"x": [2, 3, 4, 4]}, ["y"], dtype="bfloat16"))
    assert folded.batch_norms_left == 0
    scale = values["y.scale"] / np.sqrt(values["y.var"] + np.float32(1e-5))
    expected = {"w": values["w"] * scale.reshape(4, 1, 1, 1), "w_bias": values["y.bias"] - scale * values["y.mean"]}
    for name, exact in expected.items():
        stored = numpy_helper.to_array(_initializer(folded.model, name))
        assert np.array_equal(stored, exact.astype(ml_dtypes.bfloat16)), name


def test_a_constant_that_widens_the_input_of_a_conv():
    """onnxsim 0.8.1, x[N,1,H,W] * c[1,3,1,1] -> Conv: the constant broadcast the activation; invalid file, exit 0."""
    network = Network()
    network.node("Mul", ["x", network.weight("k", 1, 3, 1, 1)], "m")
    network.node("Conv", ["m", network.weight("w", 4, 3, 1, 1)], "c")
    network.batch_norm("c", "y", 4)
    folded = fold_and_compare(network.model({"x": [2, 1, 4, 4]}, ["y"]))
    assert [entry.node for entry in folded.folds] == ["y_node"]


@pytest.mark.parametrize("shape", [(1, 1, 4, 1, 1), (2, 1, 1, 1, 1), (1, 1, 1, 1, 1)])
def test_a_constant_of_higher_rank_behind_a_conv(shape):
    """onnxsim 0.8.1, Conv -> Mul by a constant of higher rank: the constant broadcast the activation; invalid file."""
    network = Network()
    network.node("Conv", ["x", network.weight("w", 4, 3, 1, 1)], "c")
    network.node("Mul", ["c", network.weight("k", *shape)], "y")
    folded = fold_and_compare(network.model({"x": [2, 3, 4, 4]}, ["y"]))
    assert folded.model == folded.original


def test_parameters_as_constant_nodes_with_value_floats():
    """onnxsim and onnxoptimizer: segmentation fault on parameters as Constant nodes with value_floats."""
    network = Network()
    network.node("Conv", ["x", network.weight("w", 4, 3, 1, 1)], "c")
    network.batch_norm("c", "y", 4)
    batch_norm = network.nodes.pop()
    for name in PARAMETERS:
        values = network.initializers.pop(f"y.{name}")
        network.node("Constant", [], f"y.{name}", value_floats=values.tolist())
    network.nodes.append(batch_norm)
    folded = fold_and_compare(network.model({"x": [2, 3, 4, 4]}, ["y"]))
    assert [node.op_type for node in folded.model.graph.node] == ["Conv"]


def test_matmul_flatten_batch_norm():
    """onnxsim, OnnxSlim, onnxscript, onnxoptimizer, onnxruntime leave MatMul -> Flatten -> BN without a word."""
    network = Network()
    network.node("MatMul", ["x", network.weight("w", 6, 5)], "m")
    network.batch_norm(network.node("Flatten", ["m"], "f"), "y", 15)
    folded = fold_and_compare(network.model({"x": [2, 3, 6]}, ["y"]))
    assert folded.reasons == [Reason.WRONG_AXIS]


@pytest.mark.parametrize(("pads", "reasons"), [([0, 0, 0, 0], []), ([1, 1, 1, 1], [Reason.GRAPH_INPUT])])
def test_batch_norm_before_a_conv(pads, reasons):
    """onnxsim, OnnxSlim, onnxscript, onnxoptimizer, onnxruntime leave BN -> Conv without a word."""
    network = Network()
    network.batch_norm("x", "n", 3)
    network.node("Conv", ["n", network.weight("w", 4, 3, 3, 3)], "y", pads=pads)
    folded = fold_and_compare(network.model({"x": [2, 3, 6, 6]}, ["y"]))
    assert folded.reasons == reasons
    assert folded.batch_norms_left == len(reasons)


@pytest.mark.parametrize("behind", [True, False])
def test_batch_norm_next_to_a_concat(behind):
    """onnxsim, OnnxSlim, onnxscript, onnxoptimizer, onnxruntime leave a BN next to a Concat without a word."""
    network = Network()
    network.node("Conv", ["x", network.weight("w1", 2, 3, 1, 1)], "c1")
    network.node("Conv", ["x", network.weight("w2", 3, 3, 1, 1)], "c2")
    if behind:
        network.batch_norm(network.node("Concat", ["c1", "c2"], "c", axis=1), "y", 5)
    else:
        network.node("Concat", [network.batch_norm("c1", "n", 2), "c2"], "y", axis=1)
    assert fold_and_compare(network.model({"x": [2, 3, 4, 4]}, ["y"])).batch_norms_left == 0


@pytest.mark.parametrize(
    ("op_type", "reasons"),
    [
        ("MaxPool", [Reason.NEEDS_NON_NEGATIVE_SCALE]),
        ("AveragePool", []),
        ("GlobalAveragePool", []),
        ("GlobalMaxPool", [Reason.NEEDS_NON_NEGATIVE_SCALE]),
        ("LpPool", [Reason.NEEDS_NON_NEGATIVE_SCALE]),
    ],
)
def test_batch_norm_behind_a_pooling(op_type, reasons):
    """onnxsim, OnnxSlim, onnxscript, onnxoptimizer, onnxruntime leave Conv -> pooling -> BN without a word."""
    network = Network()
    network.node("Conv", ["x", network.weight("w", 4, 3, 1, 1)], "c")
    window = {} if op_type.startswith("Global") else {"kernel_shape": [2, 2]}
    network.batch_norm(network.node(op_type, ["c"], "p", **window), "y", 4)
    folded = fold_and_compare(network.model({"x": [2, 3, 4, 4]}, ["y"]))
    assert folded.reasons == reasons
    assert folded.batch_norms_left == len(reasons)


@pytest.mark.parametrize(
    ("op_type", "reasons"),
    [
        *((op_type, [Reason.NEEDS_NON_NEGATIVE_SCALE]) for op_type in ("Relu", "LeakyRelu", "Abs")),
        *((op_type, [Reason.NOT_LINEAR]) for op_type in ("Sigmoid", "HardSwish")),
        *((op_type, []) for op_type in ("Neg", "Identity")),
    ],
)
def test_batch_norm_behind_an_activation(op_type, reasons):
    """onnxsim, OnnxSlim, onnxscript, onnxoptimizer, onnxruntime leave Conv -> activation -> BN without a word."""
    network = Network()
    network.node("Conv", ["x", network.weight("w", 4, 3, 1, 1)], "c")
    network.batch_norm(network.node(op_type, ["c"], "a"), "y", 4)
    folded = fold_and_compare(network.model({"x": [2, 3, 4, 4]}, ["y"]))
    assert folded.reasons == reasons
    assert folded.batch_norms_left == len(reasons)


def test_batch_norm_behind_a_residual_sum():
    """onnxsim, OnnxSlim, onnxscript, onnxoptimizer, onnxruntime leave Conv + Conv -> BN without a word."""
    network = Network()
    network.node("Conv", ["x", network.weight("w1", 4, 3, 1, 1)], "c1")
    network.node("Conv", ["x", network.weight("w2", 4, 3, 1, 1)], "c2")
    network.batch_norm(network.node("Add", ["c1", "c2"], "s"), "y", 4)
    assert fold_and_compare(network.model({"x": [2, 3, 4, 4]}, ["y"])).batch_norms_left == 0


def _initializer(model, name):
    (tensor,) = (tensor for tensor in model.graph.initializer if tensor.name == name)
    return tensor
