"""Files that are no model which bnfold reads: what they are, and what their owner can do.

Only called where a file could not be read as a model, so that a guess refuses nothing.
"""

import re
from collections.abc import Callable, Iterable
from typing import NamedTuple

from bnfold.intake.protobuf_fields import Buffer

_FIRST = 4096
"""Bytes that are looked at."""
_TF2ONNX = "convert it to ONNX first, as tf2onnx does"
_KERAS = 'write it as ONNX first, with model.export(PATH, format="onnx") of Keras'
_MODULE = "load them into their module, and export that"


class _Kind(NamedTuple):
    is_one: Callable[[bytes], object]
    sentence: str


def _begins(*magics: bytes) -> Callable[[bytes], object]:
    return lambda start: start.startswith(magics)


def _matches(pattern: bytes) -> Callable[[bytes], object]:
    return re.compile(pattern, re.DOTALL | re.IGNORECASE).match


# The first that fits. Of a text, what is behind its beginning decides.
_KINDS = (
    _Kind(
        _begins(b"version https://git-lfs.github.com/spec/"),
        "is a pointer of Git LFS, not the file that it stands for: git lfs pull brings that",
    ),
    _Kind(_matches(rb"\s*<(!doctype html|html)"), "is a page of HTML: the download of a model ended there"),
    _Kind(
        _matches(rb"(<\?xml[^>]*>)?\s*<net\b"),
        "is a model of OpenVINO: fold the ONNX model that it was made of, and convert that",
    ),
    _Kind(
        _matches(rb'\s*\{.{0,200}"ir_?version"|\s*<\s*ir_version\s*:|\s*ir_version\s*:'),
        "is an ONNX model as text: read it with onnx.load(PATH, format=...) and write it with onnx.save",
    ),
    _Kind(_begins(b"\x08\x01\x12"), f"is a SavedModel of TensorFlow: {_TF2ONNX}"),
    _Kind(lambda start: start[4:8] == b"TFL3", f"is a model of TensorFlow Lite: {_TF2ONNX}"),
    _Kind(_begins(b"\x89HDF\r\n\x1a\n"), f"is an HDF5 file, as Keras writes it: {_KERAS}"),
    _Kind(lambda start: start[8:10] == b'{"', f"holds weights alone (safetensors), no network: {_MODULE}"),
    _Kind(_begins(b"GGUF"), f"holds weights alone (GGUF), no network: {_MODULE}"),
    _Kind(_begins(b"\x93NUMPY"), "is an array of NumPy, not a model"),
    _Kind(
        _begins(b"\x1f\x8b", b"\x28\xb5\x2f\xfd", b"\xfd7zXZ\0", b"BZh", b"7z\xbc\xaf\x27\x1c"),
        "is compressed: unpack it first",
    ),
    _Kind(lambda start: start[257:262] == b"ustar", "is a tar archive: unpack it first"),
    _Kind(_matches(rb"[\t\n\r\x20-\x7e]+\Z"), "is text, not a model"),
)


def what_else_it_is(data: Buffer) -> str:
    """What a file is that no reader took, as the rest of a sentence about it; "" where nothing is known.

    Args:
        data: the file, or its beginning.
    """
    start = bytes(data[:_FIRST])
    return next((kind.sentence for kind in _KINDS if start and kind.is_one(start)), "")


def what_else_a_zip_is(names: Iterable[str]) -> str:
    """Likewise of a zip with entries of these names."""
    held = set(names)
    if {"config.json", "model.weights.h5"} <= held:
        return f"is a model of Keras: {_KERAS}"
    if held and all(name.endswith(".npy") for name in held):
        return "holds arrays of NumPy, not a model"
    if any(name.endswith(".onnx") for name in held):
        return "is a zip archive with ONNX models: unpack it first"
    return "is a zip archive, but neither TorchScript nor torch.export"
