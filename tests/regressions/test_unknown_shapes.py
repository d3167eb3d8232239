"""Shapes that are absent, symbolic, stale or wrong: an unknown one refuses and says so, a lie folds nothing."""

import pytest
from onnx import TensorProto, helper

import bnfold
from bnfold.refusal import Reason
from tests.folding import assert_equal_outputs, fold_and_compare
from tests.networks import Network
from tests.regressions.bodies import function


def matmul_and_batch_norm(network: Network, source: str) -> None:
    """Wrong for rank 3, right for rank 2: only the shape of `source` tells."""
    network.batch_norm(network.node("MatMul", [source, network.weight("w", 5, 5)], "m"), "y", 5)


def declare(model, name, shape):
    model.graph.value_info.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, shape))
    return model


def without_shape(model):
    """Old exporters write such graphs; onnxruntime runs them, onnx.checker does not like them."""
    for entry in (*model.graph.input, *model.graph.output):
        entry.type.tensor_type.ClearField("shape")
    return model


@pytest.mark.parametrize("declared", [[10, 5], [2, 5], [], [2, 5, 5, 1]])
@pytest.mark.parametrize("tensor", ["r", "m"])
def test_stale_value_info_behind_an_operator_of_the_standard(tensor, declared):
    network = Network()
    matmul_and_batch_norm(network, network.node("Relu", ["x"], "r"))
    folded = fold_and_compare(declare(network.model({"x": [2, 5, 5]}, ["y"]), tensor, declared))
    assert folded.reasons == [Reason.WRONG_AXIS]


def test_stale_value_info_behind_a_function():
    """Inference can look into the function, so what the file declares of its output counts for nothing."""
    inner = Network()
    inner.node("Relu", ["a"], "b")
    network = Network()
    matmul_and_batch_norm(network, network.node("Same", ["x"], "f", domain="local"))
    local = function("local", "Same", ["a"], ["b"], inner)
    model = network.model({"x": [2, 5, 5]}, {"y": [2, 5, 5]}, functions=[local], domains={"local": 1})
    folded = fold_and_compare(declare(model, "f", [10, 5]))
    assert folded.reasons == [Reason.WRONG_AXIS]


def test_stale_value_info_behind_an_operator_that_only_onnxruntime_knows():
    """onnxruntime runs this model and merely warns of the declared rank 2; the tensor has rank 3."""
    network = Network()
    matmul_and_batch_norm(network, network.node("Trilu", ["x"], "f", domain="com.microsoft"))
    model = network.model({"x": [2, 5, 5]}, {"y": [2, 5, 5]}, domains={"com.microsoft": 1})
    assert fold_and_compare(declare(model, "f", [10, 5])).reasons == [Reason.UNKNOWN_SHAPE]


def test_stale_channels_hide_that_a_constant_widens_the_activation():
    network = Network()
    network.node("Conv", ["x", network.weight("w", 1, 3, 1, 1)], "c")
    network.node("Mul", ["c", network.weight("k", 4, 1, 1)], "y")
    folded = fold_and_compare(declare(network.model({"x": [2, 3, 6, 6]}, ["y"]), "c", [2, 4, 6, 6]))
    assert folded.model == folded.original


def test_a_stale_graph_output():
    network = Network()
    matmul_and_batch_norm(network, network.node("Relu", ["x"], "r"))
    model = network.model({"x": [2, 5, 5]}, ["y", "r"])
    model.graph.output[1].CopyFrom(helper.make_tensor_value_info("r", TensorProto.FLOAT, ["rows", 5]))
    assert fold_and_compare(model).reasons == [Reason.WRONG_AXIS]


def test_the_rank_of_a_matmul_is_unknown():
    network = Network()
    matmul_and_batch_norm(network, "x")
    model = without_shape(network.model({"x": [2, 5, 5]}, ["y"]))
    result = bnfold.fold(model, verify=None)
    assert result.model == model
    assert result.report.outcome.kept[0].refusals[0].reason is Reason.UNKNOWN_SHAPE


def test_a_conv_gives_its_rank_away():
    network = Network()
    network.batch_norm(network.node("Conv", ["x", network.weight("w", 4, 3, 1, 1)], "c"), "y", 4)
    model = without_shape(network.model({"x": [2, 3, 5, 5]}, ["y"]))
    result = bnfold.fold(model, verify=None)
    assert_equal_outputs(model, result.model, {"x": (2, 3, 5, 5)})
    assert result.report.batch_norms.kept == 0


def test_symbolic_dimensions_do_not_stop_a_fold():
    network = Network()
    network.batch_norm(network.node("Conv", ["x", network.weight("w", 4, 3, 1, 1)], "c"), "n", 4)
    network.batch_norm(network.node("MatMul", ["t", network.weight("v", 5, 4)], "m"), "z", 4)
    model = network.model({"x": ["n", 3, "h", "w"], "t": ["n", 5]}, ["n", "z"])
    assert fold_and_compare(model, {"x": (2, 3, 5, 6), "t": (2, 5)}).batch_norms_left == 0


@pytest.mark.parametrize("channels", [1, 3])
def test_a_symbolic_dimension_that_a_constant_may_widen(channels):
    """The same file is a multiplication per channel for 3 channels and a broadcast for 1."""
    network = Network()
    network.node("Mul", ["x", network.weight("k", 3, 1, 1)], "m")
    network.batch_norm("m", "n", 3)
    network.node("Relu", ["n"], "y")
    folded = fold_and_compare(network.model({"x": [2, "channels", 4, 4]}, ["y"]), {"x": (2, channels, 4, 4)})
    assert not folded.folds
    assert folded.reasons == [Reason.UNKNOWN_SHAPE]


@pytest.mark.parametrize("rows", [1, 5])
def test_a_matmul_whose_rows_a_constant_may_widen(rows):
    network = Network()
    network.node("MatMul", ["x", network.weight("w", 4, 3)], "m")
    network.node("Add", ["m", network.weight("k", 5, 3)], "y")
    folded = fold_and_compare(network.model({"x": ["rows", 4]}, {"y": [5, 3]}), {"x": (rows, 4)})
    assert folded.model == folded.original


def test_a_reshape_to_a_shape_of_run_time():
    """The rank of the result is the value of `end`, which inference does not follow through a float."""
    network = Network()
    network.node("Shape", ["x"], "shape")
    network.node("Cast", [network.node("Shape", ["shape"], "rank")], "real", to=TensorProto.FLOAT)
    network.node("Cast", [network.node("Relu", ["real"], "positive")], "end", to=TensorProto.INT64)
    network.node("Slice", ["shape", network.constant("start", [0], "int64"), "end"], "same")
    matmul_and_batch_norm(network, network.node("Reshape", ["x", "same"], "r"))
    model = network.model({"x": [2, 5, 5]}, {"y": [2, 5, 5]})
    assert fold_and_compare(model).reasons == [Reason.UNKNOWN_SHAPE]
