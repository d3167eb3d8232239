"""A serialised model without its large weights, which stay where they are: nothing is copied, and little is parsed.

A ModelProto is a sequence of fields, each with its number and its length, and so is each message in it (protobuf,
"Encoding"). All fields are kept as they are but the data of large initializers: in its place their tensors say where
in the file it lies, as ONNX's external data does.
"""

from collections.abc import Iterator
from math import prod
from typing import TYPE_CHECKING, NamedTuple

from bnfold.verifier.models.dtypes import DOUBLE, FLOAT, FLOAT16

if TYPE_CHECKING:
    from google.protobuf.descriptor import Descriptor
    from onnx import TensorProto

Buffer = bytes | memoryview

_VARINT, _EIGHT_BYTES, _LENGTH, _FOUR_BYTES = 0, 1, 2, 5
_LARGEST_INSIDE = 2**16
"""Bytes. onnxruntime maps each weight of its own, and a process may have some 65,000 maps."""
_WIDTHS = {FLOAT16: 2, FLOAT: 4, DOUBLE: 8}


def without_weights(data: Buffer, location: str) -> bytes:
    """The same model, whose large initializers are external data in the very same bytes.

    Args:
        data: a serialised ModelProto.
        location: the name of the file that it lies in.

    Raises:
        ValueError, DecodeError: it is none.
    """
    from onnx import ModelProto

    graph = _number(ModelProto.DESCRIPTOR, "graph")
    return b"".join(
        _graph(data, field, location) if field.is_message(graph) else field.copy(data)
        for field in _fields(data, 0, len(data))
    )


class _Field(NamedTuple):
    """One field of a message.

    Attributes:
        number: as its description says.
        kind: how its length is known.
        start: where it begins.
        begin: where its content begins.
        stop: where it ends.
    """

    number: int
    kind: int
    start: int
    begin: int
    stop: int

    def is_message(self, number: int) -> bool:
        """Whether it is the one of a number, and a message or bytes."""
        return self.number == number and self.kind == _LENGTH

    @property
    def size(self) -> int:
        """Of its content."""
        return self.stop - self.begin

    def copy(self, data: Buffer) -> bytes:
        """All of it."""
        return bytes(data[self.start : self.stop])


def _fields(data: Buffer, start: int, stop: int) -> Iterator[_Field]:
    while start < stop:
        tag, begin = _varint(data, start, stop)
        kind = tag & 7
        if kind == _VARINT:
            _, end = _varint(data, begin, stop)
        elif kind == _LENGTH:
            length, begin = _varint(data, begin, stop)
            end = begin + length
        elif kind in (_EIGHT_BYTES, _FOUR_BYTES):
            end = begin + (8 if kind == _EIGHT_BYTES else 4)
        else:
            raise ValueError(f"no field begins with {tag}")
        if end > stop:
            raise ValueError("a field is longer than its message")
        yield _Field(tag >> 3, kind, start, begin, end)
        start = end


def _varint(data: Buffer, start: int, stop: int) -> tuple[int, int]:
    """A number of seven bits in each byte, the lowest first, and where it ends."""
    if start < stop and data[start] < 0x80:
        return data[start], start + 1
    value = 0
    for place in range(start, min(start + 10, stop)):
        value |= (data[place] & 0x7F) << 7 * (place - start)
        if data[place] < 0x80:
            return value, place + 1
    raise ValueError("a number does not end")


def _graph(data: Buffer, field: _Field, location: str) -> bytes:
    from onnx import GraphProto, ModelProto

    initializer = _number(GraphProto.DESCRIPTOR, "initializer")
    content = (
        _tensor(data, inner, location) if inner.is_message(initializer) else inner.copy(data)
        for inner in _fields(data, field.begin, field.stop)
    )
    return _message(_number(ModelProto.DESCRIPTOR, "graph"), b"".join(content))


def _tensor(data: Buffer, field: _Field, location: str) -> bytes:
    """An initializer, without its data if that is large."""
    from onnx import GraphProto, TensorProto

    if field.size <= _LARGEST_INSIDE:
        return field.copy(data)
    raw_data = _number(TensorProto.DESCRIPTOR, "raw_data")
    inside = list(_fields(data, field.begin, field.stop))
    raw = [entry for entry in inside if entry.is_message(raw_data)]
    if len(raw) != 1 or raw[0].size <= _LARGEST_INSIDE:
        return field.copy(data)
    tensor = TensorProto.FromString(b"".join(entry.copy(data) for entry in inside if entry is not raw[0]))
    if not _fills(tensor, raw[0].size):
        return field.copy(data)
    tensor.data_location = TensorProto.EXTERNAL
    for key, value in (("location", location), ("offset", str(raw[0].begin)), ("length", str(raw[0].size))):
        tensor.external_data.add(key=key, value=value)
    return _message(_number(GraphProto.DESCRIPTOR, "initializer"), tensor.SerializeToString())


def _fills(tensor: "TensorProto", size: int) -> bool:
    """Whether data of some bytes is all that a tensor needs, and may lie elsewhere: others are onnxruntime's matter."""
    width = _WIDTHS.get(tensor.data_type)
    return width is not None and prod(tensor.dims) * width == size and not tensor.external_data


def _message(number: int, content: bytes) -> bytes:
    return _as_varint(number << 3 | _LENGTH) + _as_varint(len(content)) + content


def _as_varint(value: int) -> bytes:
    encoded = bytearray()
    while value > 0x7F:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    encoded.append(value)
    return bytes(encoded)


def _number(message: "Descriptor", field: str) -> int:
    return int(message.fields_by_name[field].number)
