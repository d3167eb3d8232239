"""Weights behind DequantizeLinear: a positive scale per channel goes into its scales, and nothing else does."""

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from bnfold.refusal import Reason
from tests.folding import fold, fold_and_compare
from tests.networks import Network

CHANNELS = 4


def quantized_conv(network, *, per_channel=True, zero_point=True, bias="float"):
    """Conv whose weight is int8 behind a DequantizeLinear."""
    random = network.random
    network.initializers["q"] = random.integers(-127, 128, size=(CHANNELS, 3, 3, 3)).astype(np.int8)
    scales = random.uniform(0.001, 0.02, size=CHANNELS if per_channel else ())
    network.constant("q.scale", scales)
    inputs = ["q", "q.scale"]
    if zero_point:
        network.initializers["q.zero"] = np.zeros(CHANNELS if per_channel else (), np.int8)
        inputs.append("q.zero")
    network.node("DequantizeLinear", inputs, "w", axis=0)
    operands = ["x", "w"]
    if bias == "float":
        operands.append(network.weight("b", CHANNELS))
    elif bias == "int32":
        network.initializers["qb"] = random.integers(-1000, 1000, size=CHANNELS).astype(np.int32)
        network.constant("qb.scale", random.uniform(0.001, 0.02, size=CHANNELS))
        operands.append(network.node("DequantizeLinear", ["qb", "qb.scale"], "b", axis=0))
    network.node("Conv", operands, "c")


def integers(model):
    return {
        tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer if tensor.name in ("q", "qb")
    }


def batch_norm(network, scale, shift=None):
    network.batch_norm("c", "y", CHANNELS)
    network.constant("y.scale", scale)
    if shift is not None:
        network.constant("y.bias", shift)


@pytest.mark.parametrize("zero_point", [True, False])
@pytest.mark.parametrize("bias", ["float", None])
def test_positive_scales_go_into_the_scales_of_the_weight(zero_point, bias):
    network = Network()
    quantized_conv(network, zero_point=zero_point, bias=bias)
    batch_norm(network, [0.5, 2.0, 1e-3, 7.0])
    model = network.model({"x": [2, 3, 6, 6]}, ["y"])
    folded = fold_and_compare(model)
    assert [node.op_type for node in folded.model.graph.node] == ["DequantizeLinear", "Conv"]
    assert np.array_equal(integers(folded.model)["q"], integers(model)["q"])


@pytest.mark.parametrize("scale", [[0.5, -2.0, 1.0, 1.0], [0.5, 0.0, 1.0, 1.0]])
def test_other_scales_are_refused(scale):
    network = Network()
    quantized_conv(network)
    batch_norm(network, scale)
    folded = fold(network.model({"x": [2, 3, 6, 6]}, ["y"]))
    assert folded.reasons == [Reason.QUANTIZED]
    assert "not positive" in folded.kept[0].refusals[0].evidence


def test_one_scale_for_the_whole_weight_takes_a_uniform_map_only():
    for values, left in (([2.0, 3.0, 4.0, 5.0], 1), ([2.0] * CHANNELS, 0)):
        network = Network()
        quantized_conv(network, per_channel=False)
        network.node("Mul", ["c", network.constant("k", np.reshape(values, (CHANNELS, 1, 1)))], "y")
        folded = fold_and_compare(network.model({"x": [2, 3, 6, 6]}, ["y"]))
        assert len(folded.kept) == left


def test_an_integer_bias_takes_a_scale_but_no_shift():
    for shift, left in ((0.0, 0), (1.0, 1)):
        network = Network()
        quantized_conv(network, bias="int32")
        batch_norm(network, [0.5, 2.0, 1.5, 7.0], np.full(CHANNELS, shift))
        network.constant("y.mean", np.zeros(CHANNELS))
        folded = fold_and_compare(network.model({"x": [2, 3, 6, 6]}, ["y"]))
        assert folded.batch_norms_left == left
        for entry in folded.kept:
            assert entry.refusals[0].reason is Reason.QUANTIZED
            assert "the bias is stored as integers" in entry.refusals[0].evidence
            assert "no shift" in entry.refusals[0].evidence


def test_a_dequantized_weight_with_two_readers_stays():
    network = Network()
    quantized_conv(network)
    network.node("Conv", ["x", "w"], "z")
    batch_norm(network, [0.5, 2.0, 1.0, 1.0])
    model = network.model({"x": [2, 3, 6, 6]}, ["y", "z"])
    folded = fold(model)
    assert folded.reasons == [Reason.OTHER_CONSUMERS]
    assert "'z_node' (Conv)" in folded.kept[0].refusals[0].evidence
    assert folded.model.SerializeToString() == model.SerializeToString()


def test_the_input_side_is_refused():
    network = Network()
    quantized_conv(network)
    network.batch_norm("x", "n", 3)
    network.nodes[-2].input[0] = "n"
    network.nodes[-2:] = network.nodes[:-3:-1]
    folded = fold(network.model({"x": [2, 3, 6, 6]}, ["c"]))
    assert isinstance(folded.model, onnx.ModelProto)
    assert Reason.QUANTIZED in [refusal.reason for refusal in folded.kept[0].refusals]
