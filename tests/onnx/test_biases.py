"""Operators of com.microsoft that add a bias: it takes what is added in front of them, or behind."""

import numpy as np
import onnx
import pytest
from onnx import helper

from bnfold.refusal import Reason
from tests.folding import assert_equal_outputs, fold, fold_and_compare
from tests.networks import Network
from tests.onnx.checks import operators
from tests.onnx.test_microsoft_kinds import DOMAIN, model_of

SHAPE = (2, 3, 4)


def biased(op_type, *, opset=17):
    """An addition, an activation with a bias, and an output."""
    network = Network(opset=opset)
    network.node("Add", ["x", network.weight("a", 4)], "s")
    network.node(op_type, ["s", network.weight("b", 4)], "y", domain=DOMAIN)
    return network


@pytest.mark.parametrize("op_type", ["BiasGelu", "FastGelu"])
def test_what_is_added_in_front_goes_into_the_bias(op_type):
    folded = fold_and_compare(model_of(biased(op_type), {"x": SHAPE}, {"y": 3}))
    assert operators(folded.model) == [op_type]


@pytest.mark.parametrize("op_type", ["BiasGelu", "FastGelu"])
def test_a_batch_norm_in_front_leaves_its_shift_there_and_its_scale_to_the_product(op_type):
    """The product of two activations takes a scale and no shift."""
    network = Network()
    network.node("MatMul", ["x", "z"], "p")
    network.node("Mul", ["p", network.weight("m", 4)], "q")
    network.node("Add", ["q", network.weight("a", 4)], "s")
    network.node(op_type, ["s", network.weight("b", 4)], "y", domain=DOMAIN)
    network.nodes.insert(0, helper.make_node("Conv", ["w", network.weight("k", 5, 5, 1)], ["z"]))
    folded = fold_and_compare(model_of(network, {"x": (2, 3, 5), "w": (2, 5, 4)}, {"y": 3}))
    assert "Add" not in operators(folded.model)


def test_a_scale_stays_in_front_of_an_activation():
    network = Network()
    network.node("Mul", ["x", network.weight("m", 4)], "s")
    network.node("BiasGelu", ["s", network.weight("b", 4)], "y", domain=DOMAIN)
    (kept,) = fold(model_of(network, {"x": SHAPE}, {"y": 3})).kept
    assert kept.refusals[-1].reason is Reason.NOT_LINEAR
    assert kept.refusals[-1].evidence == "com.microsoft::BiasGelu is not linear"


@pytest.mark.parametrize("bias", ["", "r"])
def test_without_a_bias_of_the_file_there_is_no_place(bias):
    network = Network()
    network.node("Add", ["x", network.weight("a", 4)], "s")
    if bias:
        network.node("Sigmoid", ["z"], "r")
    network.node("FastGelu", ["s", bias] if bias else ["s"], "y", domain=DOMAIN)
    folded = fold(model_of(network, {"x": SHAPE, **({"z": (4,)} if bias else {})}, {"y": 3}))
    assert folded.folds == ()
    assert folded.kept[0].refusals[-1].evidence == "com.microsoft::FastGelu is not linear"


def spelled_out(model):
    """onnxruntime has no kernel for BiasAdd on this processor."""
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    del copy.graph.node[:]
    for node in model.graph.node:
        if node.op_type == "BiasAdd":
            copy.graph.node.append(helper.make_node("Sum", node.input, node.output))
        else:
            copy.graph.node.append(node)
    return copy


@pytest.mark.parametrize("shared", [True, False])
def test_an_addition_of_two_tensors_and_a_bias_takes_a_batch_norm_along_its_axis(shared):
    network = Network()
    network.node("MatMul", ["x", network.weight("w", 4, 4)], "p")
    network.node("MatMul", ["x", network.weight("v", 4, 4)], "z")
    network.node("BiasAdd", ["p", network.weight("b", 4), "p" if shared else "z"], "s", domain=DOMAIN)
    network.node("Mul", ["s", network.weight("m", 4)], "q")
    network.node("Add", ["q", network.weight("a", 4)], "y")
    model = model_of(network, {"x": SHAPE}, {"y": 3})
    folded = fold(model)
    assert [op for op in operators(folded.model) if op in ("Mul", "Add")] == []
    assert_equal_outputs(spelled_out(model), spelled_out(folded.model))


def test_what_is_added_to_one_of_two_tensors_goes_into_the_bias():
    network = Network()
    network.node("Add", ["x", network.weight("a", 4)], "s")
    network.node("BiasAdd", ["z", network.weight("b", 4), "s"], "y", domain=DOMAIN)
    model = model_of(network, {"x": SHAPE, "z": SHAPE}, {"y": 3})
    folded = fold(model)
    assert operators(folded.model) == ["BiasAdd"]
    assert_equal_outputs(spelled_out(model), spelled_out(folded.model))


@pytest.mark.parametrize("mode", ["bilinear", "nearest", "bicubic"])
@pytest.mark.parametrize("padding", ["border", "reflection"])
def test_a_grid_sample_of_com_microsoft(mode, padding):
    network = Network()
    network.node("Conv", ["x", network.weight("w", 4, 3, 1, 1)], "c")
    grid = network.constant("g", np.random.default_rng(0).uniform(-1.5, 1.5, size=(2, 5, 5, 2)))
    network.node("GridSample", ["c", grid], "o", domain=DOMAIN, mode=mode, padding_mode=padding)
    network.batch_norm("o", "y", 4)
    folded = fold_and_compare(model_of(network, {"x": (2, 3, 6, 6)}, {"y": 4}))
    assert operators(folded.model) == ["Conv", "GridSample"]
