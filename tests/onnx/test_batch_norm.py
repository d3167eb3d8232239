"""BatchNormalization in every version: which nodes are affine maps, and why the others are not."""

import numpy as np
import pytest
from onnx import numpy_helper

from bnfold.refusal import Reason
from bnfold.semantics import AffineMap, Form, Opaque
from tests.folding import fold, session
from tests.networks import Network
from tests.onnx.checks import assert_folds_to, assert_stays, decode_all, operators
from tests.onnx.versions import OPSETS
from tests.rules.evaluate import evaluate

CHANNELS = 5


def conv_network(opset=17):
    network = Network(opset=opset)
    network.node("Conv", ["x", network.weight("weight", CHANNELS, 2, 1, 1)], "c")
    return network, {"x": (2, 2, 3, 3)}


@pytest.mark.parametrize("opset", OPSETS)
@pytest.mark.parametrize(
    "shape", [(3, CHANNELS), (2, CHANNELS, 4), (2, CHANNELS, 3, 2), (1, CHANNELS, 2, 2, 3)], ids=len
)
def test_meaning(opset, shape):
    network = Network(opset=opset)
    network.batch_norm("x", "y", CHANNELS, epsilon=0.01)
    model = network.model({"x": shape}, ["y"])
    meaning = decode_all(model)["y"]
    assert isinstance(meaning, AffineMap)
    assert (meaning.form, meaning.source, meaning.channel_axis) == (Form.SCALE_AND_SHIFT, 0, 1)
    x = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    (expected,) = session(model).run(None, {"x": x})
    np.testing.assert_allclose(
        evaluate(meaning, {meaning.source: x.astype(np.float64)})[0], expected, rtol=1e-4, atol=1e-4
    )


@pytest.mark.parametrize("epsilon", [None, 1e-3, 0.5])
def test_epsilon_and_its_default(epsilon):
    network, inputs = conv_network()
    network.batch_norm("c", "y", CHANNELS, **({} if epsilon is None else {"epsilon": epsilon}))
    network.initializers["y.var"][:] = 1e-5
    assert_folds_to(network.model(inputs, ["y"]), "Conv")


def test_an_absent_epsilon_means_the_number_that_1e_5_is_in_a_file():
    """Attributes are float32, the default of the specification is one too."""
    meanings = []
    for attributes in ({}, {"epsilon": 1e-5}):
        network = Network()
        network.batch_norm("x", "y", CHANNELS, dtype="float64", **attributes)
        network.initializers["y.var"][:] = 0.0
        meanings.append(decode_all(network.model({"x": (2, CHANNELS)}, ["y"], dtype="float64"))["y"])
    absent, written = meanings
    assert np.array_equal(absent.affine.scale, written.affine.scale)
    assert np.array_equal(absent.affine.shift, written.affine.shift)


def test_momentum_and_flags_that_say_inference_are_ignored():
    network, inputs = conv_network()
    network.batch_norm("c", "y", CHANNELS, momentum=0.1, training_mode=0)
    assert_folds_to(network.model(inputs, ["y"]), "Conv")


def test_spatial_1_is_the_default_before_opset_9():
    network, inputs = conv_network(opset=7)
    network.batch_norm("c", "y", CHANNELS, spatial=1)
    assert_folds_to(network.model(inputs, ["y"]), "Conv")


@pytest.mark.parametrize("opset", [7, 8])
def test_spatial_0_is_refused(opset):
    network, inputs = conv_network(opset)
    network.batch_norm("c", "y", CHANNELS, spatial=0)
    assert_stays(network.model(inputs, ["y"]), Reason.NOT_SPATIAL, f"spatial is 0 at opset {opset}")


@pytest.mark.parametrize("opset", [14, 15, 22])
@pytest.mark.parametrize("outputs", [["y"], ["y", "m", "v"], ["y", "", "v"]], ids=",".join)
def test_training_mode_is_refused(opset, outputs):
    network, inputs = conv_network(opset)
    network.batch_norm("c", outputs[0], CHANNELS, training_mode=1)
    network.nodes[-1].output[:] = outputs
    model = network.model(inputs, {"y": (2, CHANNELS, 3, 3)})
    assert_stays(model, Reason.TRAINING_MODE, "training_mode is 1")


@pytest.mark.parametrize(("opset", "statistics"), [(7, 4), (8, 4), (9, 4), (13, 4), (14, 2)])
def test_statistics_outputs_are_refused(opset, statistics):
    network, inputs = conv_network(opset)
    network.batch_norm("c", "y", CHANNELS)
    network.nodes[-1].output.extend(f"statistic{number}" for number in range(statistics))
    model = network.model(inputs, {"y": (2, CHANNELS, 3, 3)}, check=False)
    assert_stays(model, Reason.STATISTICS_OUTPUTS, "it also outputs 'statistic0', 'statistic1'")


@pytest.mark.parametrize(("opset", "statistics"), [(7, 4), (13, 4), (14, 2)])
def test_statistics_outputs_without_a_name_are_none(opset, statistics):
    network, inputs = conv_network(opset)
    network.batch_norm("c", "y", CHANNELS)
    network.nodes[-1].output.extend([""] * statistics)
    folded = fold(network.model(inputs, {"y": (2, CHANNELS, 3, 3)}))
    assert operators(folded.model) == ["Conv"]


@pytest.mark.parametrize("parameter", ["scale", "bias", "mean", "var"])
def test_a_parameter_from_the_caller_is_refused(parameter):
    network, inputs = conv_network()
    network.batch_norm("c", "y", CHANNELS)
    del network.initializers[f"y.{parameter}"]
    model = network.model({**inputs, f"y.{parameter}": (CHANNELS,)}, ["y"])
    assert_stays(model, Reason.DYNAMIC_PARAMETER, f"'y.{parameter}' is an input of graph")


@pytest.mark.parametrize(
    ("parameter", "value", "reason", "evidence"),
    [
        ("scale", np.nan, Reason.NOT_FINITE, "scale is nan in channel 3"),
        ("bias", np.inf, Reason.NOT_FINITE, "bias is inf in channel 3"),
        ("mean", -np.inf, Reason.NOT_FINITE, "mean is -inf in channel 3"),
        ("var", np.inf, Reason.NOT_FINITE, "variance is inf in channel 3"),
        ("var", -1.0, Reason.NON_POSITIVE_VARIANCE, "variance + epsilon <= 0 in 1 of 5 channels (min -1, channel 3)"),
    ],
)
def test_values_that_make_no_map(parameter, value, reason, evidence):
    network, inputs = conv_network()
    network.batch_norm("c", "y", CHANNELS)
    network.initializers[f"y.{parameter}"][3] = value
    assert_stays(network.model(inputs, ["y"]), reason, evidence)


@pytest.mark.parametrize("parameter", ["scale", "bias", "mean", "var"])
@pytest.mark.parametrize("shape", [(1,), (1, CHANNELS), (CHANNELS + 1,)], ids=str)
def test_parameters_of_different_shapes_are_malformed(parameter, shape):
    network, inputs = conv_network()
    network.batch_norm("c", "y", CHANNELS)
    network.weight(f"y.{parameter}", *shape)
    model = network.model(inputs, {"y": (2, CHANNELS, 3, 3)}, check=False)
    assert_stays(model, Reason.MALFORMED, "the four parameters have shapes")


def test_too_few_inputs_are_malformed():
    network, inputs = conv_network()
    network.batch_norm("c", "y", CHANNELS)
    network.nodes[-1].input[4] = ""
    model = network.model(inputs, {"y": (2, CHANNELS, 3, 3)}, check=False)
    assert decode_all(model)["y"] == Opaque(Reason.MALFORMED, "BatchNormalization needs input 4, which is absent")


def test_two_batch_norms_that_disagree_about_the_channels_are_malformed():
    network = Network()
    network.batch_norm("x", "a", 3)
    network.batch_norm("a", "y", 4)
    folded = fold(network.model({"x": (1, 3, 2, 2)}, {"y": (1, 3, 2, 2)}, check=False))
    _, second = folded.kept
    assert second.refusals[0].reason is Reason.MALFORMED


def test_an_integer_parameter_is_malformed():
    network, inputs = conv_network()
    network.batch_norm("c", "y", CHANNELS)
    network.constant("y.bias", np.arange(CHANNELS), dtype="int32")
    model = network.model(inputs, {"y": (2, CHANNELS, 3, 3)}, check=False)
    assert_stays(model, Reason.MALFORMED, "'y.bias' is int32, not a floating-point tensor")


@pytest.mark.parametrize("opset", [7, 8])
def test_spatial_0_of_vectors_is_the_same_as_spatial_1(opset):
    """The shape of a sample without its batch is (C,) there: one mean per channel."""
    network = Network(opset=opset)
    network.node("MatMul", ["x", network.weight("w", 5, CHANNELS)], "m")
    network.batch_norm("m", "y", CHANNELS, spatial=0)
    assert_folds_to(network.model({"x": (3, 5)}, ["y"]), "Gemm")


def test_spatial_0_of_pixels_says_what_it_asks_for():
    """The parameters of a widespread ArcFace file: (C,) where the specification asks for (C, H, W)."""
    network, inputs = conv_network(8)
    network.batch_norm("c", "y", CHANNELS, spatial=0)
    folded = assert_stays(network.model(inputs, ["y"]), Reason.NOT_SPATIAL, "parameters of rank 3")
    assert "set spatial to 1" in folded.kept[0].refusals[0].hint
    for name in ("scale", "bias", "mean", "var"):
        network.constant(f"y.{name}", np.ones((CHANNELS, 3, 3)))
    folded = assert_stays(
        network.model(inputs, ["y"], check=False), Reason.NOT_SPATIAL, f"have shape ({CHANNELS}, 3, 3)"
    )
    assert folded.kept[0].refusals[0].hint == ""


@pytest.mark.parametrize("opset", [7, 9, 14, 15])
def test_an_input_of_rank_1_is_one_channel(opset):
    network = Network(opset=opset)
    network.node("MatMul", ["x", network.weight("w", 4, 1)], "m")
    network.node("Reshape", ["m", network.constant("vector", [-1], "int64")], "v")
    network.batch_norm("v", "y", 1)
    assert_folds_to(network.model({"x": (6, 4)}, {"y": (6,)}), "Gemm", "Reshape")


def test_a_batch_norm_of_one_channel_takes_no_map_of_many():
    network = Network()
    network.batch_norm("x", "b", 1)
    network.node("Mul", ["b", network.weight("k", 6)], "y")
    folded = fold(network.model({"x": (6,)}, {"y": (6,)}))
    assert folded.folds == ()
    network.constant("k", [3.0] * 6)
    assert_folds_to(network.model({"x": (6,)}, {"y": (6,)}), "BatchNormalization")


def test_an_input_of_rank_1_is_malformed():
    network = Network()
    network.batch_norm("x", "y", CHANNELS)
    model = network.model({"x": (CHANNELS,)}, {"y": (CHANNELS,)}, check=False)
    assert_stays(model, Reason.MALFORMED, "the input has rank 1, expected 2 at least")


def test_another_domain_is_not_the_standard():
    network, inputs = conv_network()
    parameters = [network.weight(f"p{number}", CHANNELS) for number in range(4)]
    network.node("BatchNormalization", ["c", *parameters], "y", domain="elsewhere")
    folded = fold(network.model(inputs, {"y": (2, CHANNELS, 3, 3)}, domains={"elsewhere": 1}))
    assert (folded.folds, folded.kept) == ((), ())


def behind_a_scale(scale, dtype="float32"):
    """A BatchNorm that takes a Mul in front of it, and stays."""
    network = Network()
    network.node("Mul", ["x", network.constant("k", scale, dtype)], "m")
    network.batch_norm("m", "y", CHANNELS, dtype=dtype)
    network.initializers["y.var"][:] = 2.0
    return network.model({"x": (2, CHANNELS, 3)}, ["y"], dtype=dtype), network.initializers


def test_one_that_takes_a_map_stores_the_statistics_of_what_it_reads_now():
    model, before = behind_a_scale(4.0)
    folded = assert_folds_to(model, "BatchNormalization").model
    after = {tensor.name: numpy_helper.to_array(tensor) for tensor in folded.graph.initializer}
    np.testing.assert_allclose(after["y.mean"], before["y.mean"] / 4, rtol=1e-6)
    np.testing.assert_allclose(after["y.var"], 2.0 / 16, rtol=1e-3)
    again = fold(folded)
    assert (again.folds, again.merges) == ((), ())


def test_statistics_stay_where_their_type_has_no_room():
    """The variance would be 200,000 in float16; scale and bias say the same map with the one that was there."""
    model, before = behind_a_scale(0.003, "float16")
    folded = assert_folds_to(model, "BatchNormalization").model
    after = {tensor.name: numpy_helper.to_array(tensor) for tensor in folded.graph.initializer}
    assert after["y.var"].tobytes() == before["y.var"].tobytes()
