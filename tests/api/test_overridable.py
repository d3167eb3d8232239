"""Initializers that are inputs as well: counted, because runtimes cannot optimise with them, and frozen on request."""

import onnx
import pytest

import bnfold
from bnfold.errors import UsageError
from bnfold.report.text import render_text
from tests.networks import Network
from tests.onnx.parameters import CHANNELS, conv_and_batch_norm


def model(ir_version):
    """Conv, BatchNorm, Relu, Conv: the first three parameters fold, weight and bias of the last Conv do not."""
    network, inputs = conv_and_batch_norm(opset=9, ir_version=ir_version)
    network.node("Relu", ["y"], "r")
    network.node("Conv", ["r", network.weight("other", 2, CHANNELS, 1, 1), network.weight("last", 2)], "z")
    return network.model(inputs, ["z"], overridable=True)


@pytest.mark.parametrize(("ir_version", "left"), [(3, 0), (4, 2), (8, 2)])
def test_what_stays_overridable_is_counted(ir_version, left):
    """Up to IR version 3 all initializers have to be inputs, and are constants nevertheless."""
    report = bnfold.fold(model(ir_version)).report
    assert report.overridable_initializers == left
    said = "2 initializers are graph inputs as well"
    assert (said in render_text(report)) is bool(left)


@pytest.mark.parametrize("ir_version", [4, 8])
def test_frozen_initializers_are_no_inputs(ir_version):
    result = bnfold.fold(model(ir_version), freeze_initializers=True)
    assert [entry.name for entry in result.model.graph.input] == ["x"]
    assert result.report.overridable_initializers == 0
    assert result.report.verification.passed
    onnx.checker.check_model(result.model)


def test_before_ir_version_4_there_is_nothing_to_freeze():
    original = model(3)
    assert bnfold.fold(original, freeze_initializers=True).model == bnfold.fold(original).model


def test_they_are_frozen_where_nothing_folds(tmp_path):
    network = Network(ir_version=4, opset=9)
    network.node("Relu", [network.node("Conv", ["x", network.weight("w", 3, 3, 1, 1)], "c")], "y")
    path, target = tmp_path / "m.onnx", tmp_path / "n.onnx"
    onnx.save(network.model({"x": [2, 3, 4, 4]}, ["y"], overridable=True), path)
    report = bnfold.fold_file(path, target, bnfold.FoldOptions(freeze_initializers=True))
    assert report.verification.passed
    assert [entry.name for entry in onnx.load(target).graph.input] == ["x"]


def test_two_options_that_contradict_each_other():
    with pytest.raises(UsageError, match="contradict"):
        bnfold.fold(model(4), freeze_initializers=True, keep_overridable=True)
