"""Convolutions, padding, products and norms of com.microsoft that stand in files beside ONNX's own of the same kind."""

import numpy as np
import onnx
import pytest

from bnfold.refusal import Reason
from tests.folding import assert_equal_outputs, fold, fold_and_compare, session
from tests.networks import Network
from tests.onnx.checks import assert_stays, operators

DOMAIN = "com.microsoft"


def model_of(network, inputs, outputs):
    shapes = {name: [f"d{axis}" for axis in range(rank)] for name, rank in outputs.items()}
    return network.model(inputs, shapes, domains={DOMAIN: 1}, check=False)


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("group", [1, 2])
def test_a_transposed_convolution_with_its_padding_at_an_input(group, bias):
    network = Network()
    network.initializers["p"] = np.array([1, 0, 0, 1])
    inputs = ["x", network.weight("w", 4, 3, 3, 2), "p", *([network.weight("b", 3 * group)] if bias else [])]
    network.node("ConvTransposeWithDynamicPads", inputs, "c", domain=DOMAIN, strides=[2, 1], group=group)
    network.batch_norm("c", "y", 3 * group)
    folded = fold_and_compare(model_of(network, {"x": (2, 4, 5, 5)}, {"y": 4}))
    assert operators(folded.model) == ["ConvTransposeWithDynamicPads"]


def test_padding_that_is_not_known_lets_a_scale_in():
    network = Network()
    network.node("Mul", ["x", network.weight("k", 4, 1, 1)], "n")
    network.node("ConvTransposeWithDynamicPads", ["n", network.weight("w", 4, 3, 3, 3), "p"], "y", domain=DOMAIN)
    model = model_of(network, {"x": (2, 4, 5, 5)}, {"y": 4})
    model.graph.input.append(onnx.helper.make_tensor_value_info("p", onnx.TensorProto.INT64, (4,)))
    folded = fold(model)
    assert operators(folded.model) == ["ConvTransposeWithDynamicPads"]
    feeds = {"x": network.random.normal(size=(2, 4, 5, 5)).astype(np.float32), "p": np.array([0, 1, 1, 2])}
    before, after = (session(each).run(None, feeds)[0] for each in (model, folded.model))
    np.testing.assert_allclose(before, after, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("opset", [10, 17])
@pytest.mark.parametrize("mode", ["reflect", "edge"])
def test_a_pad_of_com_microsoft_mixes_places(mode, opset):
    network = Network(opset=opset)
    network.initializers["p"] = np.array([0, 0, 1, 1, 0, 0, 1, 0])
    network.node("Conv", ["x", network.weight("w", 4, 3, 1, 1)], "c")
    network.node("Pad", ["c", "p"], "d", domain=DOMAIN, mode=mode)
    network.batch_norm("d", "y", 4)
    folded = fold_and_compare(model_of(network, {"x": (2, 3, 5, 5)}, {"y": 4}))
    assert operators(folded.model) == ["Conv", "Pad"]


@pytest.mark.parametrize("opset", [10, 17])
@pytest.mark.parametrize("number", [None, 0.0, 0.5])
def test_a_pad_of_com_microsoft_pads_a_number(number, opset):
    """Zeros stay zeros, another number takes the map where there is one for all channels."""
    network = Network(opset=opset)
    network.initializers["p"] = np.array([[0, 0, 1, 1, 0, 0, 1, 0]])
    value = [] if number is None else [network.constant("v", number)]
    network.node("Mul", ["x", network.constant("k", 2.0)], "m")
    network.node("Sub", ["m", network.constant("t", 0.5)], "n")
    network.node("Pad", ["n", "p", *value], "d", domain=DOMAIN)
    network.node("Conv", ["d", network.weight("w", 4, 3, 1, 1)], "y")
    folded = fold_and_compare(model_of(network, {"x": (2, 3, 5, 5)}, {"y": 4}))
    assert operators(folded.model) == (["Pad", "Conv"] if number else ["Sub", "Pad", "Conv"])


def test_a_product_by_its_older_name():
    network = Network()
    network.node("TransposeMatMul", ["x", network.weight("w", 4, 5)], "c", domain=DOMAIN, transB=1, alpha=0.5)
    network.batch_norm("c", "y", 4)
    folded = fold_and_compare(model_of(network, {"x": (3, 5)}, {"y": 2}))
    assert operators(folded.model) == ["TransposeMatMul", "Add"]


def in_standard_operators(model):
    """GroupNorm as ONNX has it: onnxruntime has no kernel for com.microsoft's on this processor."""
    standard = onnx.ModelProto()
    standard.CopyFrom(model)
    for node in standard.graph.node:
        if node.op_type == "GroupNorm":
            node.op_type, node.domain = "GroupNormalization", ""
            del node.attribute[:]
            node.attribute.append(onnx.helper.make_attribute("num_groups", 3))
    return standard


def group_norm(op_type="GroupNorm", **attributes):
    network = Network(opset=21, ir_version=10)
    skip = ["z"] if op_type == "SkipGroupNorm" else []
    inputs = ["x", network.weight("g", 6), network.weight("o", 6), *skip]
    network.node(op_type, inputs, "c", domain=DOMAIN, groups=3, **attributes)
    network.batch_norm("c", "y", 6)
    return network


def test_a_group_norm_of_com_microsoft_takes_what_is_behind_it():
    model = model_of(group_norm(activation=0, channels_last=0), {"x": (2, 6, 4, 4)}, {"y": 4})
    folded = fold(model)
    assert operators(folded.model) == ["GroupNorm"]
    assert_equal_outputs(in_standard_operators(model), in_standard_operators(folded.model))


@pytest.mark.parametrize("op_type", ["GroupNorm", "SkipGroupNorm"])
def test_a_group_norm_of_com_microsoft_has_its_channels_at_the_end(op_type):
    network = group_norm(op_type, activation=0)
    network.nodes[-1:] = []
    network.node("Mul", ["c", network.weight("k", 6)], "m")
    network.node("Add", ["m", network.weight("t", 6)], "y")
    inputs = {"x": (2, 4, 4, 6), **({"z": (2, 4, 4, 6)} if op_type == "SkipGroupNorm" else {})}
    folded = fold(model_of(network, inputs, {"y": 4}))
    stored = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in folded.model.graph.initializer}
    scale, shift, weight, bias = (network.initializers[name] for name in ("k", "t", "g", "o"))
    node = folded.model.graph.node[0]
    np.testing.assert_allclose(stored[node.input[1]], scale * weight, rtol=1e-6)
    np.testing.assert_allclose(stored[node.input[2]], scale * bias + shift, rtol=1e-5, atol=1e-6)


def test_a_group_norm_with_an_activation_takes_nothing():
    model = model_of(group_norm(activation=1, channels_last=0), {"x": (2, 6, 4, 4)}, {"y": 4})
    assert_stays(model, Reason.NOT_LINEAR, "the activation in com.microsoft::GroupNorm is not linear")


COMPUTE_WITH_INTEGERS = ["QLinearConcat", "QAttention", "DynamicQuantizeLSTM", "MatMulInteger16"]


@pytest.mark.parametrize("op_type", [*COMPUTE_WITH_INTEGERS, "MatMulFpQ4", "GatherBlockQuantized", "Inverse"])
def test_other_operators_of_com_microsoft_say_what_they_are(op_type):
    network = Network()
    network.batch_norm("x", "n", 3)
    network.node(op_type, ["n", "n", "n"], "y", domain=DOMAIN)
    (kept,) = fold(model_of(network, {"x": (2, 3, 4, 4)}, {"y": 4})).kept
    assert kept.refusals[1].reason is Reason.NOT_LINEAR
    assert kept.refusals[1].evidence.startswith(f"com.microsoft::{op_type} ")
