"""The bytes of a model file: a regular one, not empty, and no larger than a message can be."""

import os
from pathlib import Path

from bnfold.errors import ModelFormatError, UnsupportedModelError
from bnfold.intake.data_folder import kind_of_place

_LARGEST_MESSAGE = 2**31 - 1
"""Bytes. Protobuf writes lengths of messages in 31 bits."""


def check_regular(path: Path) -> None:
    """Whether something can be read to its end: devices never end, and pipes wait for somebody to write.

    Raises:
        ModelFormatError: it is a folder, a pipe, a device or a socket. The message goes on behind the path.
        OSError: nothing is there.
    """
    try:
        kind = kind_of_place(os.stat(path).st_mode)
    except ValueError as error:  # a NUL in the path
        raise ModelFormatError(f"cannot be read: {error}") from error
    if kind:
        raise ModelFormatError(f"is {kind}, not a file: give a path of a regular file")


def read_model_file(path: Path) -> bytes:
    """All of an ONNX file.

    Raises:
        ModelFormatError: it is no regular file, is empty, or cannot be read. The message goes on behind the path.
        UnsupportedModelError: it is too large.
    """
    try:
        check_regular(path)
        with path.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            if size > _LARGEST_MESSAGE:
                raise UnsupportedModelError(
                    f"has {size:,} bytes, more than the 2 GiB of an ONNX file: larger weights are external data"
                )
            data = file.read(size)
    except OSError as error:
        raise ModelFormatError(f"cannot be read: {error.strerror or error}") from error
    if not data:
        raise ModelFormatError("is empty")
    return data
