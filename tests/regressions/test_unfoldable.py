"""BatchNorms that are no constant affine map, and weights that cannot take one: refused with a code, never folded."""

import numpy as np
import pytest
from onnx import TensorProto

from bnfold.refusal import Reason
from tests.folding import fold, fold_and_compare
from tests.networks import Network
from tests.regressions.bodies import body

SHAPE = [2, 3, 4, 4]


def conv_and_batch_norm(*, opset: int = 17, dtype: str = "float32", **attributes) -> Network:
    network = Network(opset=opset)
    network.node("Conv", ["x", network.weight("w", 3, 3, 1, 1, dtype=dtype)], "c")
    network.batch_norm("c", "y", 3, dtype=dtype, **attributes)
    return network


def test_training_mode():
    folded = fold(conv_and_batch_norm(training_mode=1).model({"x": SHAPE}, {"y": SHAPE}))
    assert folded.reasons == [Reason.TRAINING_MODE]
    assert "assume_inference=True" in folded.kept[0].refusals[0].hint
    assert folded.model == folded.original


def test_training_mode_of_zero_is_inference():
    assert fold_and_compare(conv_and_batch_norm(training_mode=0).model({"x": SHAPE}, ["y"])).batch_norms_left == 0


@pytest.mark.parametrize("statistics", [[], ["mean_out", "var_out"]])
def test_training_mode_where_the_caller_assumes_inference(statistics):
    network = conv_and_batch_norm(training_mode=1)
    network.nodes[-1].output.extend(statistics)
    folded = fold(network.model({"x": SHAPE}, {"y": SHAPE}), assume_inference=True)
    expected = fold_and_compare(conv_and_batch_norm().model({"x": SHAPE}, ["y"]))
    assert folded.batch_norms_left == 0
    assert folded.model == expected.model


@pytest.mark.parametrize("used_by", ["graph", "node", "body"])
def test_statistics_that_somebody_reads(used_by):
    network = conv_and_batch_norm(training_mode=1)
    network.nodes[-1].output.extend(["mean_out", "var_out"])
    outputs = {"y": SHAPE}
    if used_by == "graph":
        outputs["var_out"] = [3]
    if used_by == "node":
        network.node("Relu", ["mean_out"], "z")
        outputs["z"] = [3]
    if used_by == "body":
        _capture(network, "mean_out")
        outputs["z"] = [3]
    model = network.model({"x": SHAPE}, outputs)
    for assume_inference in (False, True):
        folded = fold(model, assume_inference=assume_inference)
        assert folded.reasons == [Reason.STATISTICS_OUTPUTS]
        assert folded.kept[0].refusals[0].hint == ""
        assert folded.model == model


def _capture(network, name):
    inner = Network()
    inner.node("Neg", [name], "inside")
    branch = body(inner, {}, {"inside": [3]})
    network.node("If", [network.constant("go", True, "bool")], "z", then_branch=branch, else_branch=branch)


def test_five_outputs_of_an_old_batch_norm():
    network = conv_and_batch_norm(opset=9)
    network.nodes[-1].output.extend(["mean_out", "var_out", "saved_mean", "saved_var"])
    model = network.model({"x": SHAPE}, ["y"])
    folded = fold(model)
    assert folded.reasons == [Reason.STATISTICS_OUTPUTS]
    assert "assume_inference=True" in folded.kept[0].refusals[0].hint
    assert folded.model == model
    expected = fold_and_compare(conv_and_batch_norm(opset=9).model({"x": SHAPE}, ["y"]))
    assert fold(model, assume_inference=True).model == expected.model


def test_five_outputs_of_which_one_is_read():
    network = conv_and_batch_norm(opset=9)
    network.nodes[-1].output.extend(["mean_out", "var_out", "saved_mean", "saved_var"])
    model = network.model({"x": SHAPE}, {"y": SHAPE, "saved_var": [3]})
    for assume_inference in (False, True):
        folded = fold(model, assume_inference=assume_inference)
        assert folded.reasons == [Reason.STATISTICS_OUTPUTS]
        assert folded.kept[0].refusals[0].evidence == "its statistics are used, as 'saved_var'"
        assert folded.kept[0].refusals[0].hint == ""
        assert folded.model == model


def test_a_batch_norm_that_never_kept_statistics_gets_no_false_hint():
    """torch exports track_running_stats=False, which evaluation mode does not change, as mean 0 and variance 1."""
    network = conv_and_batch_norm(training_mode=1)
    network.initializers["y.mean"][:] = 0
    network.initializers["y.var"][:] = 1
    folded = fold(network.model({"x": SHAPE}, {"y": SHAPE}))
    assert folded.reasons == [Reason.TRAINING_MODE]
    assert folded.kept[0].refusals[0].hint == ""
    assert "keeps none" in folded.kept[0].refusals[0].evidence


def test_absent_statistics_outputs_are_none():
    network = conv_and_batch_norm(opset=9)
    network.nodes[-1].output.extend([""] * 4)
    assert fold(network.model({"x": SHAPE}, ["y"])).batch_norms_left == 0


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("parameter", ["scale", "bias", "mean", "var"])
def test_a_parameter_that_is_not_finite(parameter, value):
    network = conv_and_batch_norm()
    network.initializers[f"y.{parameter}"][1] = value
    folded = fold(network.model({"x": SHAPE}, ["y"]))
    assert folded.reasons == [Reason.NOT_FINITE]
    assert "channel 1" in folded.kept[0].refusals[0].evidence
    assert folded.model == folded.original


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_weight_that_is_not_finite(value):
    """NaN * 0 is NaN, inf * 0 is NaN: a scale of 0 behind such a weight is not a weight of 0."""
    network = conv_and_batch_norm()
    network.initializers["w"][0, 0] = value
    folded = fold(network.model({"x": SHAPE}, ["y"]))
    assert folded.reasons == [Reason.NOT_FINITE]
    assert folded.model == folded.original


@pytest.mark.parametrize(("variance", "epsilon"), [(-1.0, 1e-5), (0.0, 0.0), (-0.25, 0.25)])
def test_a_variance_that_has_no_root(variance, epsilon):
    network = conv_and_batch_norm(epsilon=epsilon)
    network.initializers["y.var"][2] = variance
    folded = fold(network.model({"x": SHAPE}, ["y"]))
    assert folded.reasons == [Reason.NON_POSITIVE_VARIANCE]
    assert "channel 2" in folded.kept[0].refusals[0].evidence
    assert folded.model == folded.original


@pytest.mark.parametrize("parameter", ["y.scale", "y.bias"])
def test_a_folded_weight_or_bias_beyond_float16(parameter):
    network = conv_and_batch_norm(dtype="float16")
    network.initializers[parameter][1] = 6e4
    network.initializers["y.var"][:] = 1e-3
    network.initializers["y.mean"][:] = 50.0
    network.initializers["w"][:] = 1.0
    if parameter == "y.bias":
        network.initializers["y.scale"][:] = [1.0, -6.0, 1.0]
    folded = fold(network.model({"x": SHAPE}, ["y"], dtype="float16"))
    assert folded.reasons == [Reason.OVERFLOW]
    assert folded.model == folded.original


def test_numbers_beyond_float64_are_refused_without_a_warning():
    network = conv_and_batch_norm(dtype="float64", epsilon=0.0)
    network.initializers["y.scale"][:] = 1e300
    network.initializers["y.var"][:] = 1e-300
    folded = fold(network.model({"x": SHAPE}, ["y"], dtype="float64"))
    assert folded.reasons == [Reason.OVERFLOW]


@pytest.mark.parametrize("parameter", ["scale", "bias", "mean", "var"])
def test_a_parameter_that_the_caller_gives(parameter):
    """Squared, since a variance must not be negative."""
    network = conv_and_batch_norm()
    batch_norm = network.nodes.pop()
    del network.initializers[f"y.{parameter}"]
    network.node("Mul", ["given", "given"], f"y.{parameter}")
    network.nodes.append(batch_norm)
    folded = fold_and_compare(network.model({"x": SHAPE, "given": [3]}, ["y"]))
    assert folded.reasons == [Reason.DYNAMIC_PARAMETER]


def test_a_weight_that_is_computed():
    network = Network()
    network.node("Add", [network.weight("w", 3, 3, 1, 1), "given"], "moved")
    network.batch_norm(network.node("Conv", ["x", "moved"], "c"), "y", 3)
    folded = fold_and_compare(network.model({"x": SHAPE, "given": [1]}, ["y"]))
    assert folded.reasons == [Reason.DYNAMIC_WEIGHT]


def test_a_bias_that_the_caller_gives():
    network = conv_and_batch_norm()
    network.nodes[0].input.append("given")
    folded = fold_and_compare(network.model({"x": SHAPE, "given": [3]}, ["y"]))
    assert folded.reasons == [Reason.DYNAMIC_BIAS]


def test_parameters_that_the_caller_may_override():
    model = conv_and_batch_norm().model({"x": SHAPE}, ["y"], overridable=True)
    kept = fold_and_compare(model, keep_overridable=True)
    assert kept.reasons == [Reason.OVERRIDABLE]
    assert kept.model == model
    folded = fold(model)
    assert folded.batch_norms_left == 0
    assert [entry.name for entry in folded.model.graph.input] == ["x"]


@pytest.mark.parametrize("op_type", ["Mul", "Add", "Sub", "Div"])
@pytest.mark.parametrize("value", [np.nan, np.inf, 0.0])
def test_arithmetic_with_a_constant_that_is_not_finite(op_type, value):
    network = Network()
    network.node("Conv", ["x", network.weight("w", 3, 3, 1, 1)], "c")
    network.node(op_type, ["c", network.constant("k", np.array([1.0, value, 2.0]).reshape(3, 1, 1))], "y")
    folded = fold(network.model({"x": SHAPE}, ["y"]))
    foldable = value == 0.0 and op_type != "Div"
    assert bool(folded.folds) == foldable


@pytest.mark.parametrize("op_type", ["Add", "Mul"])
def test_arithmetic_with_integers(op_type):
    network = Network()
    network.node("Cast", ["x"], "i", to=TensorProto.INT32)
    network.node(op_type, ["i", network.constant("k", 3, "int32")], "j")
    network.node(op_type, ["j", network.constant("k2", 5, "int32")], "l")
    network.node("Cast", ["l"], "y", to=TensorProto.FLOAT)
    folded = fold_and_compare(network.model({"x": SHAPE}, ["y"]))
    assert folded.model == folded.original
