"""Quantizers of com.microsoft, whose schema is published: the same laws as for those of ONNX."""

import numpy as np
import pytest

from bnfold.frontends.onnx.port import OnnxPort
from bnfold.frontends.onnx.storage import TensorStore
from bnfold.refusal import Reason
from tests.folding import fold_and_compare
from tests.networks import Network
from tests.onnx.checks import assert_stays, decode_all, operators

DOMAIN = "com.microsoft"
CHANNELS = 4
SHAPE = ("N", 3, 6, 6)


def quantized_conv(network, dtype="int8", *, per_channel=True, source="x"):
    """Conv whose weight is stored as integers behind a DequantizeLinear of com.microsoft."""
    limits = np.iinfo(dtype)
    zero = 0 if limits.min < 0 else (limits.max + 1) // 2
    network.initializers["q"] = network.random.integers(limits.min + 1, limits.max, size=(CHANNELS, 3, 3, 3)).astype(
        dtype
    )
    cells = (CHANNELS,) if per_channel else ()
    network.constant("q.scale", network.random.uniform(0.5, 2.0, size=cells) / limits.max)
    network.initializers["q.zero"] = np.full(cells, zero, dtype)
    attributes = {"axis": 0} if per_channel else {}
    network.node("DequantizeLinear", ["q", "q.scale", "q.zero"], "w", domain=DOMAIN, **attributes)
    network.node("Conv", [source, "w", network.weight("b", CHANNELS)], "c")


def model_of(network):
    output = {"y": ("N", CHANNELS, "h", "w")}
    return network.model({"x": SHAPE}, output, domains={DOMAIN: 1}, check=False)


@pytest.mark.parametrize("dtype", ["int8", "uint8", "int16", "uint16"])
@pytest.mark.parametrize("per_channel", [True, False])
@pytest.mark.parametrize("scale", [[0.5, 2.0, 1e-3, 7.0], [0.5, -2.0, 0.0, 7.0]], ids=["positive", "any"])
def test_scales_signs_and_zeros(scale, per_channel, dtype):
    network = Network()
    quantized_conv(network, dtype, per_channel=per_channel)
    network.batch_norm("c", "y", CHANNELS)
    network.constant("y.scale", scale)
    folded = fold_and_compare(model_of(network), {"x": (2, *SHAPE[1:])})
    assert operators(folded.model) == ["DequantizeLinear", "Conv"]
    assert folded.model.graph.node[0].domain == DOMAIN


@pytest.mark.parametrize("opset", [10, 13, 21])
def test_one_scale_becomes_several_in_every_version_of_onnx(opset):
    """The axis is in this domain's own schema, not in ONNX's from 13 on."""
    network = Network(opset=opset)
    quantized_conv(network, per_channel=False)
    network.batch_norm("c", "y", CHANNELS)
    folded = fold_and_compare(model_of(network), {"x": (2, *SHAPE[1:])})
    assert operators(folded.model) == ["DequantizeLinear", "Conv"]


def test_ranks_are_known_behind_quantized_activations():
    """ONNX infers nothing behind operators of this domain."""
    network = Network()
    network.constant("s", 0.05)
    network.initializers["z"] = np.array(3, np.uint8)
    network.node("QuantizeLinear", ["x", "s", "z"], "xq", domain=DOMAIN)
    network.node("DequantizeLinear", ["xq", "s", "z"], "xd", domain=DOMAIN)
    network.node("Conv", ["xd", network.weight("w", CHANNELS, 3, 1, 1)], "c")
    network.batch_norm("c", "y", CHANNELS)
    folded = fold_and_compare(model_of(network), {"x": (2, *SHAPE[1:])})
    assert operators(folded.model) == ["QuantizeLinear", "DequantizeLinear", "Conv"]


def test_no_map_passes_a_quantizer():
    network = Network()
    network.node("Conv", ["x", network.weight("w", CHANNELS, 3, 1, 1)], "c")
    network.node("QuantizeLinear", ["c", network.constant("s", 0.05)], "q", domain=DOMAIN)
    network.node("DequantizeLinear", ["q", "s"], "d", domain=DOMAIN)
    network.batch_norm("d", "y", CHANNELS)
    assert_stays(model_of(network), Reason.NOT_LINEAR, "reads what was rounded to integers")


def test_other_operators_of_the_domain_are_unknown():
    network = Network()
    network.node("Rfft", ["x"], "y", domain=DOMAIN)
    assert decode_all(model_of(network))["y"].reason is Reason.FOREIGN_DOMAIN


def behind_integers(op_type, inputs, outputs, shape, **attributes):
    """An operator of com.microsoft on integers, and a BatchNorm behind it."""
    network = Network()
    network.constant("s", 0.05)
    network.initializers["z"] = np.array(3, np.uint8)
    network.initializers["wq"] = network.random.integers(0, 255, size=(CHANNELS, shape[1])).astype(np.uint8)
    network.node("QuantizeLinear", ["x", "s", "z"], "xq")
    network.node(op_type, inputs, "yq", domain=DOMAIN, **attributes)
    network.node("DequantizeLinear", ["yq", "s", "z"], "yf")
    network.batch_norm("yf", "y", outputs[1])
    return network.model({"x": shape}, {"y": outputs}, domains={DOMAIN: 1}, check=False)


OF_ONE = ["xq", "s", "z", "s", "z"]
OF_TWO = ["xq", "s", "z", "xq", "s", "z", "s", "z"]


@pytest.mark.parametrize(
    ("op_type", "inputs", "shape", "outputs", "attributes"),
    [
        ("QGemm", ["xq", "s", "z", "wq", "s", "z", "", "s", "z"], (3, 5), (3, CHANNELS), {"transB": 1}),
        ("QLinearAdd", OF_TWO, (2, 4, 3, 3), (2, 4, 3, 3), {}),
        ("QLinearMul", OF_TWO, (2, 4, 3, 3), (2, 4, 3, 3), {}),
        ("QLinearSigmoid", OF_ONE, (2, 4, 3, 3), (2, 4, 3, 3), {}),
        ("QLinearLeakyRelu", OF_ONE, (2, 4, 3, 3), (2, 4, 3, 3), {"alpha": 0.1}),
        ("QLinearGlobalAveragePool", OF_ONE, (2, 4, 3, 3), (2, 4, 1, 1), {"channels_last": 0}),
    ],
)
def test_behind_operators_on_integers_the_quantizer_is_the_reason(op_type, inputs, shape, outputs, attributes):
    """ONNX infers no shape behind them; an unknown rank would be a reason that hides the true one."""
    model = behind_integers(op_type, inputs, outputs, shape, **attributes)
    folded = assert_stays(model, Reason.NOT_LINEAR, "reads what was rounded to integers")
    assert "fold that" in folded.kept[0].refusals[0].hint


@pytest.mark.parametrize("channels_last", [0, 1])
def test_poolings_keep_the_axis_of_their_channels(channels_last):
    network = Network()
    network.constant("s", 0.05)
    network.initializers["z"] = np.array(3, np.uint8)
    network.node("QuantizeLinear", ["x", "s", "z"], "xq")
    network.node("QLinearGlobalAveragePool", OF_ONE, "yq", domain=DOMAIN, channels_last=channels_last)
    network.node("DequantizeLinear", ["yq", "s", "z"], "y")
    model = network.model({"x": (2, 4, 3, 5)}, {"y": (2, "a", "b", "c")}, domains={DOMAIN: 1}, check=False)
    port = OnnxPort(model, TensorStore(None))
    (pool,) = [node for node in port.nodes() if "Pool" in node.op]
    assert pool.outputs[0].shape == ((2, None, None, 5) if channels_last else (2, 4, None, None))
