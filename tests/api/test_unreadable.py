"""Files that are no models: one line that says so, and nothing else happens."""

import onnx
import pytest

import bnfold
from bnfold.errors import ModelFormatError, UnsupportedModelError
from tests.api.folders import save, snapshot
from tests.networks import Network

OPTIONS = bnfold.FoldOptions(verify=None)


def refused(path, error, call):
    """What the call says of the file, after checking that it did nothing else."""
    before = snapshot(path.parent)
    with pytest.raises(error) as caught:
        bnfold.fold_file(path, path.with_name("small.onnx"), OPTIONS) if call == "fold_file" else bnfold.fold(path)
    assert snapshot(path.parent) == before
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.fixture(params=["fold_file", "fold"])
def call(request):
    return request.param


def test_no_file(tmp_path, call):
    assert "No such file" in refused(tmp_path / "model.onnx", ModelFormatError, call)


def test_a_folder(tmp_path, call):
    (tmp_path / "model.onnx").mkdir()
    assert "is a folder" in refused(tmp_path / "model.onnx", ModelFormatError, call)


def test_an_empty_file(tmp_path, call):
    (tmp_path / "model.onnx").touch()
    assert "is empty" in refused(tmp_path / "model.onnx", ModelFormatError, call)


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"hello\n", "is text, not a model"),
        (b"{}", "is text, not a model"),
        (b"ir_version: 8\ngraph {\n}\n", "is an ONNX model as text"),
        (b"\xff" * 100, "is not an ONNX model"),
        (b"\0" * 100, "is not an ONNX model"),
    ],
)
def test_a_file_of_another_kind(tmp_path, call, content, told):
    (tmp_path / "model.onnx").write_bytes(content)
    assert told in refused(tmp_path / "model.onnx", ModelFormatError, call)


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9, 0.999])
def test_a_truncated_model(model, tmp_path, call, share):
    data = model.SerializeToString()
    (tmp_path / "model.onnx").write_bytes(data[: int(len(data) * share)])
    assert "is not an ONNX model" in refused(tmp_path / "model.onnx", ModelFormatError, call)


def test_a_zip_archive(tmp_path, call):
    (tmp_path / "model.onnx").write_bytes(b"PK\x03\x04 and so on")
    assert "damaged zip" in refused(tmp_path / "model.onnx", ModelFormatError, call)


def test_an_opset_before_7(tmp_path, call):
    message = refused(save(_with_opset(6), tmp_path / "model.onnx"), UnsupportedModelError, call)
    assert "opset 6" in message
    assert "7" in message


def test_an_opset_of_the_future(tmp_path, call):
    newest = onnx.defs.onnx_opset_version()
    message = refused(save(_with_opset(newest + 1), tmp_path / "model.onnx"), UnsupportedModelError, call)
    assert f"opset {newest + 1}" in message
    assert f"knows {newest}" in message


def _with_opset(version):
    network = Network()
    network.node("Relu", ["x"], "y")
    model = network.model({"x": [2, 3]}, ["y"])
    model.opset_import[0].version = version
    return model


def test_the_message_names_the_file(tmp_path):
    """bnfold.fold is called for many paths in a loop: the message must say which one it was."""
    (tmp_path / "broken.onnx").write_bytes(b"hello")
    assert "broken.onnx" in refused(tmp_path / "broken.onnx", ModelFormatError, "fold")
