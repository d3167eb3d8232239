"""Weights behind DequantizeLinear: scales go into its scales, signs and zeros into the integers, all of it exactly."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

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


def zero_points(values, dtype, per_channel):
    return np.full(CHANNELS if per_channel else (), values, dtype)


@pytest.mark.parametrize("dtype", ["int8", "uint8", "int16", "uint16"])
@pytest.mark.parametrize("zero", [0, 100])
@pytest.mark.parametrize("per_channel", [True, False])
@pytest.mark.parametrize("scale", [[0.5, -2.0, 0.0, 1e-3], [-0.5, -2.0, -1.0, -3.0], [0.0, 0.0, 0.0, 0.0]], ids=str)
def test_signs_and_zeros_go_into_the_integers(dtype, zero, per_channel, scale):
    """Counted from the zero point, the integers are mirrored, or become it."""
    network = Network(21)
    quantized_conv(network, per_channel=per_channel)
    centre = 128 if zero and dtype.startswith("u") else zero
    reach = 27 if dtype == "int8" and zero else 100
    draws = network.random.integers(-reach, reach, size=(CHANNELS, 3, 3, 3))
    low = 0 if dtype.startswith("u") and not zero else None
    network.initializers["q"] = (np.abs(draws) if low == 0 else draws + centre).astype(dtype)
    network.initializers["q.zero"] = zero_points(centre, dtype, per_channel)
    batch_norm(network, scale)
    model = network.model({"x": [2, 3, 6, 6]}, ["y"])
    folded = fold_and_compare(model)
    if low == 0 and min(scale) < 0:
        assert folded.reasons == [Reason.QUANTIZED]
        assert "no mirror image in " + dtype in folded.kept[0].refusals[0].evidence
        return
    assert [node.op_type for node in folded.model.graph.node] == ["DequantizeLinear", "Conv"]
    new, old = (integers(of)["q"].astype(int) - centre for of in (folded.model, model))
    signs = np.sign(scale).astype(int).reshape(-1, 1, 1, 1)
    assert np.array_equal(new, signs * old)
    assert integers(folded.model)["q"].dtype == dtype


def test_an_integer_without_a_mirror_image_is_refused():
    network = Network()
    quantized_conv(network)
    network.initializers["q"][1, 0, 0, 0] = -128
    batch_norm(network, [0.5, -2.0, 1.0, 1.0])
    folded = fold(network.model({"x": [2, 3, 6, 6]}, ["y"]))
    assert folded.reasons == [Reason.QUANTIZED]
    assert "1 of 108 integers of 'w_node' have no mirror image in int8" in folded.kept[0].refusals[0].evidence


def test_one_scale_for_the_whole_weight_becomes_one_per_channel():
    for values, scales in (([2.0, 3.0, 4.0, 5.0], (CHANNELS,)), ([2.0] * CHANNELS, ())):
        network = Network()
        quantized_conv(network, per_channel=False)
        network.node("Mul", ["c", network.constant("k", np.reshape(values, (CHANNELS, 1, 1)))], "y")
        folded = fold_and_compare(network.model({"x": [2, 3, 6, 6]}, ["y"]))
        assert folded.kept == ()
        shapes = {tensor.name: tuple(tensor.dims) for tensor in folded.model.graph.initializer}
        assert shapes["q.scale"] == shapes["q.zero"] == scales


def test_before_opset_13_one_scale_stays_one():
    network = Network(11)
    quantized_conv(network, per_channel=False)
    del network.nodes[0].attribute[:]
    network.node("Mul", ["c", network.constant("k", np.reshape([2.0, 3.0, 4.0, 5.0], (CHANNELS, 1, 1)))], "y")
    folded = fold(network.model({"x": [2, 3, 6, 6]}, ["y"]))
    assert len(folded.kept) == 1
    assert "one scale for all" in folded.kept[0].refusals[0].evidence


@pytest.mark.parametrize("scale", [[0.5, 2.0, 1.5, 7.0], [0.5, -2.0, 0.0, 7.0]], ids=str)
@pytest.mark.parametrize("per_channel", [True, False])
def test_an_integer_bias_takes_the_scale_and_an_addition_the_shift(scale, per_channel):
    for shift, behind in ((0.0, []), (1.0, ["Add"])):
        network = Network()
        quantized_conv(network, bias="int32", per_channel=per_channel)
        batch_norm(network, scale, np.full(CHANNELS, shift))
        network.constant("y.mean", np.zeros(CHANNELS))
        model = network.model({"x": [2, 3, 6, 6]}, ["y"])
        folded = fold_and_compare(model)
        assert folded.batch_norms_left == 0
        assert [node.op_type for node in folded.model.graph.node][2:] == ["Conv", *behind]
        signs = np.sign(scale).astype(int)
        assert np.array_equal(integers(folded.model)["qb"], integers(model)["qb"] * signs)


def test_an_addition_would_not_be_worth_an_addition():
    network = Network()
    quantized_conv(network, bias="int32")
    network.node("Add", ["c", network.weight("k", CHANNELS, 1, 1)], "y")
    folded = fold(network.model({"x": [2, 3, 6, 6]}, ["y"]))
    assert [kept.refusals[0].reason for kept in folded.kept] == [Reason.NO_BIAS]


@pytest.mark.parametrize("shared", ["reader", "output"])
def test_a_dequantized_weight_that_others_see_keeps_its_values_for_them(shared):
    network = Network()
    quantized_conv(network)
    if shared == "reader":
        network.node("Conv", ["x", "w"], "z")
    batch_norm(network, [0.5, -2.0, 0.0, 1.0])
    model = network.model({"x": [2, 3, 6, 6]}, ["y", "z" if shared == "reader" else "w"])
    folded = fold_and_compare(model)
    assert folded.batch_norms_left == 0
    assert [node.op_type for node in folded.model.graph.node].count("DequantizeLinear") == 2
    assert len({node.name for node in folded.model.graph.node}) == len(folded.model.graph.node)


@pytest.mark.parametrize("scale", [[0.5, 2.0, 1.5, 7.0], [0.5, -2.0, 0.0, 7.0]], ids=str)
def test_a_weight_that_the_graph_itself_quantizes(scale):
    """As training with quantization is exported: only what the fold changes is stored anew."""
    network = Network()
    network.weight("float", CHANNELS, 3, 3, 3)
    network.constant("q.scale", network.random.uniform(0.01, 0.03, size=CHANNELS))
    network.initializers["q.zero"] = np.zeros(CHANNELS, np.int8)
    network.node("QuantizeLinear", ["float", "q.scale", "q.zero"], "q", axis=0)
    network.node("DequantizeLinear", ["q", "q.scale", "q.zero"], "w", axis=0)
    network.node("Conv", ["x", "w"], "c")
    batch_norm(network, scale)
    model = network.model({"x": [2, 3, 6, 6]}, ["y"])
    # Quantizing clips: -128 has no mirror image.
    model.graph.initializer[0].CopyFrom(
        numpy_helper.from_array(np.clip(numpy_helper.to_array(model.graph.initializer[0]), -1.2, 1.2), "float")
    )
    folded = fold_and_compare(model)
    assert folded.batch_norms_left == 0
    quantizes = [node for node in folded.model.graph.node if node.op_type == "QuantizeLinear"]
    assert len(quantizes) == (1 if min(scale) > 0 else 0)
    if quantizes:
        stored = {tensor.name: numpy_helper.to_array(tensor) for tensor in folded.model.graph.initializer}
        assert np.array_equal(stored["q.scale"], network.initializers["q.scale"])


@pytest.mark.parametrize("dtype", [TensorProto.INT4, TensorProto.UINT4])
@pytest.mark.parametrize("block", [4, 3, 8])
def test_blocks_of_four_bits(dtype, block):
    random = np.random.default_rng(0)
    symmetric = dtype == TensorProto.INT4
    network = Network(21)
    rows = -(-8 // block)
    network.constant("q.scale", random.uniform(0.01, 0.1, size=(rows, CHANNELS)))
    values = random.integers(-7, 8, size=(8, CHANNELS)) if symmetric else random.integers(1, 16, size=(8, CHANNELS))
    inputs = ["q", "q.scale"]
    network.node("DequantizeLinear", inputs, "w", axis=0, block_size=block)
    network.node("MatMul", ["x", "w"], "c")
    scale = [0.5, -2.0, 0.0, 7.0] if symmetric else [0.5, 2.0, 3.0, 7.0]
    network.node("Mul", ["c", network.constant("k", scale)], "y")
    graph = helper.make_graph(
        network.nodes,
        "graph",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, (3, 8))],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, (3, CHANNELS))],
        [
            helper.make_tensor("q", dtype, values.shape, values.reshape(-1)),
            *(numpy_helper.from_array(v, n) for n, v in network.initializers.items()),
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)
    folded = fold_and_compare(model)
    assert [node.op_type for node in folded.model.graph.node] == ["DequantizeLinear", "MatMul"]


def test_a_map_over_another_axis_than_the_scales_is_refused():
    network = Network()
    network.initializers["q"] = network.random.integers(-127, 128, size=(8, CHANNELS)).astype(np.int8)
    network.constant("q.scale", network.random.uniform(0.01, 0.1, size=8))
    network.node("DequantizeLinear", ["q", "q.scale"], "w", axis=0)
    network.node("MatMul", ["x", "w"], "c")
    network.node("Mul", ["c", network.constant("k", [1.0, 2.0, 3.0, 4.0])], "y")
    folded = fold(network.model({"x": (3, 8)}, ["y"]))
    assert "scales along axis 0, which cannot express the map" in folded.kept[0].refusals[0].evidence


def test_a_scale_that_would_be_lost_is_refused():
    network = Network()
    quantized_conv(network)
    batch_norm(network, [1.0, 1e-37, 1.0, 1.0])
    folded = fold(network.model({"x": [2, 3, 6, 6]}, ["y"]))
    assert folded.reasons == [Reason.UNDERFLOW]


def test_the_input_side_is_refused():
    network = Network()
    quantized_conv(network)
    network.batch_norm("x", "n", 3)
    network.nodes[-2].input[0] = "n"
    network.nodes[-2:] = network.nodes[:-3:-1]
    folded = fold(network.model({"x": [2, 3, 6, 6]}, ["c"]))
    assert isinstance(folded.model, onnx.ModelProto)
    assert Reason.QUANTIZED in [refusal.reason for refusal in folded.kept[0].refusals]


def test_a_fold_into_a_bias_sees_the_weight_as_the_fold_before_left_it():
    """The second BatchNorm goes first, into scales per channel; the first one's shift meets these, not the old one."""
    network = Network()
    for source, output, channels in (("x", "n", 1), ("c", "y", CHANNELS)):
        network.batch_norm(source, output, channels)
        network.constant(f"{output}.scale", network.random.uniform(0.5, 2, channels))
        if output == "n":
            network.node("Sub", ["n", network.constant("k", 2.5)], "s")
            network.initializers["q"] = network.random.integers(0, 255, size=(CHANNELS, 1, 1, 1)).astype(np.uint8)
            network.constant("q.scale", 0.01)
            network.constant("q.zero", 3, dtype="uint8")
            network.node("DequantizeLinear", ["q", "q.scale", "q.zero"], "w", axis=0)
            network.node("Conv", ["s", "w"], "c")
    folded = fold_and_compare(network.model({"x": [2, 1, 5, 5]}, ["y"]))
    assert [node.op_type for node in folded.model.graph.node] == ["DequantizeLinear", "Conv"]


def test_a_second_fold_sees_the_weight_as_the_first_one_left_it():
    """The shift in front of it makes W t behind it, of the scales that the weight has by then."""
    network = Network()
    network.initializers["q"] = network.random.integers(-127, 128, size=(5, 3)).astype(np.int8)
    network.node("DequantizeLinear", ["q", network.constant("q.scale", 0.02)], "w")
    network.node("Sub", ["x", network.weight("m", 5)], "s")
    network.node("MatMul", ["s", "w"], "p")
    network.node("Mul", ["p", network.constant("k", -3.0)], "r")
    network.node("Add", ["r", network.weight("b", 3)], "y")
    folded = fold_and_compare(network.model({"x": [2, 4, 5]}, ["y"]))
    assert [node.op_type for node in folded.model.graph.node] == ["DequantizeLinear", "MatMul", "Add"]


def test_integers_that_the_graph_makes_are_read_as_the_fold_before_left_them():
    """Signs of the Div go into the integers; the two convolutions become one of these."""
    network = Network()
    network.weight("float", 3, 1, 1, 1)
    network.initializers["zero"] = np.zeros((), np.int8)
    network.node("QuantizeLinear", ["float", network.constant("size", 0.03), "zero"], "q")
    network.node("DequantizeLinear", ["q", "size", "zero"], "w")
    network.node("Conv", ["x", "w"], "c")
    network.node("Div", ["c", network.constant("k", np.reshape([-1.4, 1.5, 2.0], (3, 1, 1)))], "d")
    network.node("Conv", ["d", network.weight("v", 1, 3, 3, 2)], "y", pads=[0, 0, 0, 1])
    folded = fold_and_compare(network.model({"x": [2, 1, 4, 3]}, ["y"]), merge=True)
    assert [node.op_type for node in folded.model.graph.node] == ["Conv"]
