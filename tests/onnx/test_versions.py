"""One network with every foldable operator, through the versions of ONNX."""

import onnx
import pytest

from tests.networks import Network
from tests.onnx.checks import assert_folds_to
from tests.onnx.versions import IR_VERSIONS, OPSETS

CHANNELS = 4


def network_of_all(opset, ir_version):
    network = Network(opset=opset, ir_version=ir_version)
    network.node("Conv", ["x", network.weight("w1", CHANNELS, 2, 3, 3), network.weight("b1", CHANNELS)], "c")
    network.batch_norm("c", "d", CHANNELS)
    network.node("Relu", ["d"], "e")
    network.node("ConvTranspose", ["e", network.weight("w2", CHANNELS, 2, 2, 2)], "f", group=2)
    network.batch_norm("f", "g", CHANNELS)
    network.node("Mul", ["g", network.weight("m", CHANNELS, 1, 1)], "h")
    network.node("Add", [network.weight("a", 1, CHANNELS, 1, 1), "h"], "i")
    network.node("Sub", ["i", network.weight("s")], "j")
    network.node("Div", ["j", network.constant("q", 1.7)], "k")
    network.node("GlobalAveragePool", ["k"], "l")
    network.node("Flatten", ["l"], "n")
    network.node("Gemm", ["n", network.weight("w3", 5, CHANNELS), network.weight("b3", 5)], "o", transB=1, beta=0.5)
    network.batch_norm("o", "p", 5)
    network.node("MatMul", ["p", network.weight("w4", 5, 3)], "r")
    network.node("Add", ["r", network.weight("b4", 3)], "t")
    network.batch_norm("t", "y", 3)
    return network.model({"x": (3, 2, 5, 5)}, ["y"], overridable=ir_version == 3)


@pytest.mark.parametrize("opset", OPSETS)
@pytest.mark.parametrize("ir_version", IR_VERSIONS)
def test_every_operator(opset, ir_version):
    model = network_of_all(opset, ir_version)
    expected = ["Conv", "Relu", "ConvTranspose", "GlobalAveragePool", "Flatten", "Gemm", "Gemm"]
    folded = assert_folds_to(model, *expected)
    assert folded.kept == ()
    assert folded.model.opset_import == model.opset_import
    assert folded.model.ir_version == model.ir_version
    onnx.checker.check_model(folded.model, full_check=True)
    initializers = {tensor.name for tensor in folded.model.graph.initializer}
    expected_inputs = {"x"} | (initializers if ir_version == 3 else set())
    assert {entry.name for entry in folded.model.graph.input} == expected_inputs
