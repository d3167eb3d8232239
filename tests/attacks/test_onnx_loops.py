"""Models that never end: a run is ended from outside, and said to be."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import bnfold
from bnfold.errors import UncheckedError
from bnfold.verifier.run import session as sessions
from tests.attacks.onnx_models import conv_bn, refused, write


def endless(turns: int | None = None) -> onnx.ModelProto:
    """conv_bn, and a Loop beside it that goes on for ever, or for so many turns."""
    model = conv_bn()
    value = helper.make_tensor_value_info
    inputs = [value("i", TensorProto.INT64, []), value("c", TensorProto.BOOL, []), value("s", TensorProto.FLOAT, [])]
    outputs = [value("d", TensorProto.BOOL, []), value("t", TensorProto.FLOAT, [])]
    nodes = [helper.make_node("Identity", ["c"], ["d"]), helper.make_node("Cos", ["s"], ["t"])]
    body = helper.make_graph(nodes, "body", inputs, outputs)
    stored = {"go": np.array(True), "zero": np.array(0, np.float32), "turns": np.array(turns or 0)}
    model.graph.initializer.extend(numpy_helper.from_array(values, name) for name, values in stored.items())
    count = "" if turns is None else "turns"
    model.graph.node.append(helper.make_node("Loop", [count, "go", "zero"], ["z"], body=body))
    model.graph.output.append(value("z", TensorProto.FLOAT, []))
    return model


@pytest.mark.parametrize("turns", [None, 2**62])
def test_a_loop_without_an_end_is_ended(tmp_path, monkeypatch, turns):
    monkeypatch.setattr(sessions, "LONGEST_RUN", 0.3)
    path = write(endless(turns), tmp_path / "model.onnx")
    with refused(tmp_path, "one run of the original was ended after 0.3 seconds", UncheckedError):
        bnfold.fold_file(path, tmp_path / "out.onnx", bnfold.FoldOptions())


def test_a_loop_with_an_end_is_not(tmp_path):
    path = write(endless(100), tmp_path / "model.onnx")
    assert bnfold.fold_file(path, tmp_path / "out.onnx", bnfold.FoldOptions()).verification.passed
