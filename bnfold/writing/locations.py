"""Which data files an ONNX file names, read off its bytes: no parser, no memory, and no trust in what it holds.

Entries are looked for everywhere but inside of large weights, which are most of a file.
"""

import mmap
import os
import re
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from bnfold.intake.protobuf_fields import Field, fields

# In a TensorProto: the entry of external_data with the key "location", and the length of its value in front of it.
_LOCATION = re.compile(rb"\x0a\x08location\x12([\x00-\x7f]|[\x80-\xff][\x00-\x7f])")
_LARGEST_MESSAGE = 2**31  # bytes; protobuf takes no more

# Of ModelProto, GraphProto and TensorProto, which are not imported for this.
_GRAPH, _INITIALIZER, _RAW_DATA = 7, 5, 9
_LARGE = 2**16  # bytes
_ARCHIVE = b"PK"  # how a zip archive begins, and no ModelProto
_LEAST_FIELDS, _BYTES_SEARCHED_MEANWHILE = 1000, 2**12


def data_files_of(model: Path) -> frozenset[Path]:
    """The files that hold external data of a model, as paths beside it; none where it is no model or not there.

    Weights that happen to spell such an entry add a file that does not exist.
    """
    try:
        if not (model.is_file() and 0 < model.stat().st_size < _LARGEST_MESSAGE):
            return frozenset()
        with model.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
            if content[:2] == _ARCHIVE:
                return frozenset()
            return frozenset(
                model.parent / location
                for start, stop in _beside_weights(content)
                for location in _locations(content, start, stop)
            )
    except (OSError, ValueError):
        return frozenset()


def _beside_weights(content: mmap.mmap) -> Iterator[tuple[int, int]]:
    """From where to where the bytes lie that are no data of a large initializer, as far as that is known."""
    start = 0
    with suppress(ValueError), memoryview(content) as data:
        for weight in _large_weights(data):
            yield start, weight.begin
            start = weight.stop
    yield start, len(content)


def _large_weights(data: memoryview) -> Iterator[Field]:
    """The raw data of large initializers; no more of them where a message has so many fields that search is faster.

    Raises:
        ValueError: it is no message.
    """
    left = _LEAST_FIELDS + len(data) // _BYTES_SEARCHED_MEANWHILE
    for field in fields(data, 0, len(data)):
        for inner in fields(data, field.begin, field.stop) if field.is_message(_GRAPH) else ():
            left -= 1
            if not left:
                return
            if inner.is_message(_INITIALIZER) and inner.size > _LARGE:
                yield from (
                    entry
                    for entry in fields(data, inner.begin, inner.stop)
                    if entry.is_message(_RAW_DATA) and entry.size > _LARGE
                )


def _locations(content: mmap.mmap, start: int, stop: int) -> Iterator[str]:
    for entry in _LOCATION.finditer(content, start, stop):
        length = sum((byte & 0x7F) << 7 * position for position, byte in enumerate(entry[1]))
        value = os.fsdecode(content[entry.end() : entry.end() + length])
        if value and "\0" not in value:
            yield os.path.normpath(value)
