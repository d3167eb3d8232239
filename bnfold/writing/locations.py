"""Which data files an ONNX file names, read off its bytes: no parser, no memory, and no trust in what it holds."""

import mmap
import os
import re
from collections.abc import Iterator
from pathlib import Path

# In a TensorProto: the entry of external_data with the key "location", and the length of its value in front of it.
_LOCATION = re.compile(rb"\x0a\x08location\x12([\x00-\x7f]|[\x80-\xff][\x00-\x7f])")
_LARGEST_MESSAGE = 2**31  # bytes; protobuf takes no more


def data_files_of(model: Path) -> frozenset[Path]:
    """The files that hold external data of a model, as paths beside it; none where it is no model or not there.

    Weights that happen to spell such an entry add a file that does not exist.
    """
    try:
        if not (model.is_file() and 0 < model.stat().st_size < _LARGEST_MESSAGE):
            return frozenset()
        with model.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
            return frozenset(model.parent / location for location in _locations(content))
    except (OSError, ValueError):
        return frozenset()


def _locations(content: mmap.mmap) -> Iterator[str]:
    for entry in _LOCATION.finditer(content):
        length = sum((byte & 0x7F) << 7 * position for position, byte in enumerate(entry[1]))
        value = os.fsdecode(content[entry.end() : entry.end() + length])
        if value and "\0" not in value:
            yield os.path.normpath(value)
