"""Models of a few bytes that name a data file as ONNX files do, and carry a digest of it: are the two of one write?"""

import hashlib
from pathlib import Path


def model_bytes(location: str, data: bytes) -> bytes:
    """A serialised StringStringEntryProto as it stands in every TensorProto, and what the data must hash to."""
    name = location.encode()
    length = bytes([len(name)]) if len(name) < 128 else bytes([len(name) & 0x7F | 0x80, len(name) >> 7])
    return b"\x08\x0a\x0a\x08location\x12" + length + name + b"|" + hashlib.sha256(data).digest()


def write_model(path: Path, location: str, data: bytes) -> Path:
    (path.parent / location).write_bytes(data)
    path.write_bytes(model_bytes(location, data))
    return path


def data_of(path: Path) -> bytes:
    """The data of a model, which must be that which it was written with."""
    content = path.read_bytes()
    start = content.index(b"location\x12") + len(b"location\x12")
    location = content[start + 1 : -33].decode()
    data = (path.parent / location).read_bytes()
    assert hashlib.sha256(data).digest() == content[-32:], f"{path.name} over the data of another model"
    return data
