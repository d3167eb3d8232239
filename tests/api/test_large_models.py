"""Models beyond what protobuf serialises at once: a sparse file of external data, and a lower limit."""

from pathlib import Path

import numpy as np
import onnx
import pytest

import bnfold
from bnfold.errors import ModelFormatError, UsageError
from tests.verifier.small_models import FLOAT, model_proto, node


def batch_norm_behind(proto, path, *, sparse_bytes=0):
    """The model with its weights in a data file; a large weight that no fold needs lies behind them, as a hole."""
    onnx.save(proto, path, save_as_external_data=True, location="data", size_threshold=0)
    if sparse_bytes:
        with Path(path.parent, "data").open("r+b") as file:
            file.truncate(sparse_bytes)
        reread = onnx.load(path, load_external_data=False)
        hole = next(tensor for tensor in reread.graph.initializer if tensor.name == "hole")
        begin = 4096 * (4096 + 16)
        hole.dims[:] = [(sparse_bytes - begin) // 4]
        del hole.external_data[:]
        for key, value in (("location", "data"), ("offset", begin), ("length", hole.dims[0] * 4)):
            hole.external_data.add(key=key, value=str(value))
        path.write_bytes(reread.SerializeToString())
    return path


def network():
    random = np.random.default_rng(0)
    parameters = {"w": random.normal(size=(4, 3, 3, 3)).astype(np.float32), "hole": np.zeros(4, np.float32)}
    parameters |= {name: random.uniform(0.5, 2, 4).astype(np.float32) for name in ("g", "b", "m", "v")}
    nodes = [node("Conv", "x w", "c"), node("BatchNormalization", "c g b m v", "n"), node("Relu", "n", "y")]
    nodes += [node("ReduceMax", "hole", "top", keepdims=0)]
    ports = {"x": (FLOAT, [1, 3, 8, 8])}, {"y": (FLOAT, None), "top": (FLOAT, None)}
    return model_proto(nodes, *ports, parameters)


@pytest.fixture
def low_limit(monkeypatch):
    monkeypatch.setattr("bnfold.intake.message.LARGEST_MESSAGE", 100)


def test_a_file_of_more_than_two_gigabytes_is_explained_without_being_read(tmp_path):
    path = batch_norm_behind(network(), tmp_path / "m.onnx", sparse_bytes=2**31 + 2**28)
    report = bnfold.explain(path)
    assert report.batch_norms.folded == 1
    assert report.input == str(path)
    assert report.bytes.before > 2**31


@pytest.mark.usefixtures("low_limit")
def test_a_large_file_folds_into_a_model_in_memory(tmp_path):
    path = batch_norm_behind(network(), tmp_path / "m.onnx")
    result = bnfold.fold(str(path))
    assert result.report.verification.passed
    assert (result.report.input, result.report.output) == (str(path), None)
    assert [entry.op_type for entry in result.model.graph.node] == ["Conv", "Relu", "ReduceMax"]
    assert not any(tensor.external_data for tensor in result.model.graph.initializer)
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["data", "m.onnx"], "nothing is left behind"


def test_it_is_the_model_that_a_small_one_would_be(tmp_path, monkeypatch):
    path = batch_norm_behind(network(), tmp_path / "m.onnx")
    small = bnfold.fold(path).model
    monkeypatch.setattr("bnfold.intake.message.LARGEST_MESSAGE", 100)
    assert bnfold.fold(path).model == small


@pytest.mark.usefixtures("low_limit")
@pytest.mark.parametrize("door", [bnfold.fold, bnfold.explain, lambda model: bnfold.verify(model, b"")])
def test_a_model_in_memory_that_is_too_large_is_one_line(door):
    with pytest.raises(
        UsageError, match=r"holds [\d.]+ (bytes|KiB) of weights.*save_as_external_data=True.*give the path"
    ):
        door(network())


@pytest.mark.usefixtures("low_limit")
def test_errors_of_large_files_name_the_file(tmp_path):
    path = batch_norm_behind(network(), tmp_path / "m.onnx")
    (tmp_path / "data").write_bytes(b"")
    for door in (bnfold.fold, bnfold.explain):
        with pytest.raises(ModelFormatError, match=r"m\.onnx "):
            door(path)
