"""Models whose large weights stay where they are."""

import contextlib
import gc
from pathlib import Path

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

import bnfold
from bnfold.errors import VerificationError
from bnfold.intake.tensors import is_external
from bnfold.verifier.models.external_data import of_buffer, without_weights
from bnfold.verifier.models.load import Model
from bnfold.verifier.run.session import Session
from tests.verifier.small_models import FLOAT, model_proto, node
from tests.weights import lists_of_weights


def chain(*weights: np.ndarray) -> onnx.ModelProto:
    """Models of any weights: what they compute does not matter."""
    names = [f"w{number}" for number in range(len(weights))]
    nodes = [node("Identity", name, f"y{number}") for number, name in enumerate(names)]
    proto = model_proto(nodes, {}, {}, dict(zip(names, weights, strict=True)))
    proto.producer_name = "someone"
    proto.graph.doc_string = "what it is"
    proto.graph.value_info.append(helper.make_tensor_value_info("y0", FLOAT, None))
    return proto


def brought_back(proto: onnx.ModelProto, data: bytes) -> onnx.ModelProto:
    for tensor in proto.graph.initializer:
        if is_external(tensor):
            tensor.CopyFrom(numpy_helper.from_array(of_buffer(tensor, data), tensor.name))
    return proto


@given(lists_of_weights())
def test_nothing_but_the_data_of_large_weights_is_elsewhere(held):
    proto = chain(*held)
    data = proto.SerializeToString()
    small = onnx.ModelProto.FromString(without_weights(data, "here.onnx"))
    for tensor, values in zip(small.graph.initializer, held, strict=True):
        large = values.dtype.kind == "f" and values.nbytes > 2**16
        assert is_external(tensor) == large
        assert len(tensor.raw_data) == (0 if large else values.nbytes)
        if large:
            assert {entry.key: entry.value for entry in tensor.external_data}["location"] == "here.onnx"
    assert brought_back(small, data) == proto


def test_messages_that_are_merged():
    """Two graphs in one file are one graph: lists follow each other."""
    one, two = (chain(np.full((200, 200), value, np.float32)) for value in (1, 2))
    two.graph.initializer[0].name = "other"
    data = one.SerializeToString() + two.SerializeToString()
    small = onnx.ModelProto.FromString(without_weights(data, ""))
    assert [of_buffer(tensor, data)[0, 0] for tensor in small.graph.initializer] == [1, 2]


def test_data_of_another_length_is_left_to_onnxruntime():
    proto = chain(np.ones((200, 200), np.float32))
    proto.graph.initializer[0].dims[0] = 300
    data = proto.SerializeToString()
    assert without_weights(data, "") == data
    with pytest.raises(VerificationError, match="cannot load a model"):
        Session(Model.read("a model", data))


@pytest.mark.parametrize("element", [TensorProto.UNDEFINED, 99], ids=["undefined", "unknown"])
def test_a_type_that_nobody_knows_is_left_to_onnxruntime(element):
    proto = chain(np.ones((200, 200), np.float32))
    proto.graph.initializer[0].data_type = element
    data = proto.SerializeToString()
    assert without_weights(data, "") == data
    with pytest.raises(VerificationError, match="cannot load a model"):
        Session(Model.read("a model", data))


@given(st.integers(0, 2**32 - 1))
def test_whatever_is_damaged_is_a_clear_error_or_none(seed):
    rng = np.random.default_rng(seed)
    damaged = bytearray(chain(np.ones((200, 200), np.float32)).SerializeToString())
    for place in rng.integers(0, 200, 3):
        damaged[place] = rng.integers(256)
    damaged = bytes(damaged[: rng.integers(len(damaged))] if rng.integers(2) else damaged)
    with contextlib.suppress(VerificationError):  # anything else escapes
        Session(Model.read("a model", damaged))


def test_runs_read_the_weights_where_they_are(tmp_path):
    weight = np.random.default_rng(0).normal(size=(200, 200)).astype(np.float32)
    x = np.random.default_rng(1).normal(size=(3, 200)).astype(np.float32)
    ports = {"x": (FLOAT, [3, 200])}, {"y": (FLOAT, [3, 200])}
    path = tmp_path / "model.onnx"
    path.write_bytes(model_proto([node("MatMul", "x w", "y")], *ports, {"w": weight}).SerializeToString())
    linked = tmp_path / "links" / "link.onnx"
    linked.parent.mkdir()
    linked.symlink_to(path)
    runs = []
    for source in (path, linked, path.read_bytes()):
        read = Model.read("a model", source)
        assert not read.proto.graph.initializer[0].raw_data
        np.testing.assert_array_equal(read.weights["w"], weight)
        runs += Session(read).run({"x": x})
        doubled = Session(read, weights={"w": 2 * weight}).run({"x": x})[0]
        np.testing.assert_array_equal(doubled, 2 * runs[0])
    np.testing.assert_allclose(runs[0], x @ weight, rtol=1e-4, atol=1e-5)
    for other in runs[1:]:
        np.testing.assert_array_equal(other, runs[0])


@pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="no system tells which files are mapped")
def test_no_file_stays_mapped_behind_a_check(tmp_path):
    """Where a file is mapped, some systems let nobody replace it."""
    weight = np.random.default_rng(0).normal(size=(200, 200)).astype(np.float32)
    ports = {"x": (FLOAT, [3, 200])}, {"y": (FLOAT, [3, 200])}
    paths = tmp_path / "a.onnx", tmp_path / "b.onnx"
    for path, factor in zip(paths, (1, 1.01), strict=True):
        proto = model_proto([node("MatMul", "x w", "y")], *ports, {"w": weight * np.float32(factor)})
        path.write_bytes(proto.SerializeToString())
    gc.disable()
    try:
        verdicts = [bnfold.verify(paths[0], path).passed for path in paths]
        mapped = Path("/proc/self/maps").read_text()
    finally:
        gc.enable()
    assert verdicts == [True, False]
    assert str(tmp_path) not in mapped
