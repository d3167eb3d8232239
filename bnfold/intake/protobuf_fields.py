"""Serialised protobuf messages as a sequence of fields, each with its number and its length.

Source: protobuf's documentation, "Encoding", https://protobuf.dev/programming-guides/encoding
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from google.protobuf.descriptor import Descriptor

Buffer = bytes | memoryview

_VARINT, _EIGHT_BYTES, _LENGTH, _FOUR_BYTES = 0, 1, 2, 5


class Field(NamedTuple):
    """One field of a message.

    Attributes:
        number: of the field in its message type.
        kind: the wire type, which says how long it is.
        start: offset of its tag, in bytes.
        begin: offset of its content.
        stop: offset behind its content.
    """

    number: int
    kind: int
    start: int
    begin: int
    stop: int

    def is_message(self, number: int) -> bool:
        """Whether it has this number, and holds a message or bytes."""
        return self.number == number and self.kind == _LENGTH

    @property
    def size(self) -> int:
        """Bytes of its content."""
        return self.stop - self.begin

    def copy(self, data: Buffer) -> bytes:
        """Tag, length and content."""
        return bytes(data[self.start : self.stop])


def fields(data: Buffer, start: int, stop: int) -> Iterator[Field]:
    """The fields of a message that lies in some bytes.

    Raises:
        ValueError: these bytes are no message.
    """
    while start < stop:
        tag, begin = varint(data, start, stop)
        kind = tag & 7
        if kind == _VARINT:
            _, end = varint(data, begin, stop)
        elif kind == _LENGTH:
            length, begin = varint(data, begin, stop)
            end = begin + length
        elif kind in (_EIGHT_BYTES, _FOUR_BYTES):
            end = begin + (8 if kind == _EIGHT_BYTES else 4)
        else:
            raise ValueError(f"no field begins with {tag}")
        if end > stop:
            raise ValueError("a field is longer than its message")
        yield Field(tag >> 3, kind, start, begin, end)
        start = end


def varint(data: Buffer, start: int, stop: int) -> tuple[int, int]:
    """A varint (seven bits in each byte, the lowest first), and the offset behind it."""
    if start < stop and data[start] < 0x80:
        return data[start], start + 1
    value = 0
    for place in range(start, min(start + 10, stop)):
        value |= (data[place] & 0x7F) << 7 * (place - start)
        if data[place] < 0x80:
            return value, place + 1
    raise ValueError("a number does not end")


def message(number: int, content: bytes) -> bytes:
    """A field that holds a message or bytes."""
    return header(number, len(content)) + content


def header(number: int, size: int) -> bytes:
    """Tag and length of a field that holds a message or bytes, of this size."""
    return as_varint(number << 3 | _LENGTH) + as_varint(size)


def as_varint(value: int) -> bytes:
    """A number as a varint."""
    encoded = bytearray()
    while value > 0x7F:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    encoded.append(value)
    return bytes(encoded)


def number_of(message: "Descriptor", field: str) -> int:
    """The number of a field by its name."""
    return int(message.fields_by_name[field].number)
