"""Files that people take for a model: what they are is said, and what to do."""

import gzip
import json
import struct
import zipfile

import onnx
import pytest

import bnfold
from tests.networks import Network

HEADER = json.dumps({"w": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}}).encode()
FILES = {
    "pointer": (
        b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n",
        "is a pointer of Git LFS",
    ),
    "page": (b"<!DOCTYPE html>\n<html><body>404</body></html>", "is a page of HTML"),
    "openvino": (b'<?xml version="1.0"?>\n<net name="m" version="11"></net>', "is a model of OpenVINO"),
    "tflite": (b"\x1c\0\0\0TFL3" + bytes(100), "is a model of TensorFlow Lite"),
    "saved_model": (b"\x08\x01\x12\x84\x01\xff\xfe" + bytes(20), "is a SavedModel of TensorFlow"),
    "keras": (b"\x89HDF\r\n\x1a\n" + bytes(100), "is an HDF5 file, as Keras writes it"),
    "safetensors": (struct.pack("<Q", len(HEADER)) + HEADER + bytes(8), "holds weights alone (safetensors)"),
    "gguf": (b"GGUF\x03\0\0\0" + bytes(16), "holds weights alone (GGUF)"),
    "array": (b"\x93NUMPY\x01\0v\0", "is an array of NumPy"),
    "gzip": (gzip.compress(b"model"), "is compressed: unpack it first"),
    "tar": (b"m.onnx".ljust(257, b"\0") + b"ustar\0" + bytes(200), "is a tar archive"),
    "text": (b"hello\n", "is text, not a model"),
    "unknown": (bytes([7, 1, 255, 254, 3]), "is not an ONNX model, or is truncated (protobuf cannot parse it)"),
}


def refusal(path):
    with pytest.raises((bnfold.ModelFormatError, bnfold.UnsupportedModelError)) as caught:
        bnfold.fold(path)
    return str(caught.value)


@pytest.mark.parametrize("kind", FILES)
def test_a_file_that_is_no_model_is_called_what_it_is(tmp_path, kind):
    content, said = FILES[kind]
    path = tmp_path / "m.onnx"
    path.write_bytes(content)

    assert refusal(path).startswith(f"{path} {said}")


@pytest.mark.parametrize(
    ("names", "said"),
    [
        (["config.json", "metadata.json", "model.weights.h5"], "is a model of Keras"),
        (["x.npy", "y.npy"], "holds arrays of NumPy"),
        (["a/net.onnx"], "is a zip archive with ONNX models: unpack it first"),
        (["readme.txt"], "is a zip archive, but neither TorchScript nor torch.export"),
    ],
)
def test_so_is_a_zip(tmp_path, names, said):
    path = tmp_path / "m.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for name in names:
            archive.writestr(name, "content")

    assert refusal(path).startswith(f"{path} {said}")


@pytest.mark.parametrize(
    ("form", "said"),
    [
        ("json", "is an ONNX model as text"),
        ("textproto", "is an ONNX model as text"),
        ("onnxtxt", "is an ONNX model as text"),
    ],
)
def test_onnx_in_its_other_spellings_is_known(tmp_path, form, said):
    network = Network()
    network.node("Relu", ["x"], "y")
    path = tmp_path / "m.onnx"
    onnx.save(network.model({"x": [2, 3]}, ["y"]), path, format=form)

    assert refusal(path).startswith(f"{path} {said}")


def test_a_model_is_read_whatever_its_bytes_look_like(tmp_path):
    """The name of its producer puts what a safetensors file has at byte 8 there."""
    network = Network()
    network.node("Relu", ["x"], "y")
    model = network.model({"x": [2, 3]}, ["y"])
    model.producer_name = 'name{"'
    path = tmp_path / "m.onnx"
    onnx.save(model, path)
    assert path.read_bytes()[8:10] == b'{"'

    assert bnfold.fold(path).report.batch_norms.found == 0
