"""The bytes of a model file: a regular one, not empty, and no larger than a message can be."""

import mmap
import os
from pathlib import Path

from bnfold.errors import ModelFormatError, UnsupportedModelError
from bnfold.intake.data_folder import kind_of_place, let_go
from bnfold.intake.protobuf_fields import Buffer

_SMALL = 2**16
"""Bytes that are sooner read than mapped."""
_KEEPS_MAPPED_FILES = os.name == "nt"
"""Windows lets nobody replace a file that is mapped, and a result may go over its model."""
_LARGEST_MESSAGE = 2**31 - 1
"""Bytes. Protobuf writes lengths of messages in 31 bits."""


def check_regular(path: Path) -> None:
    """Refuse a path that is no regular file: devices never end, and pipes wait for somebody to write.

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


class ModelFile:
    """All bytes of an ONNX file.

    Args:
        content: the file, mapped or read.

    Attributes:
        data: its bytes.
    """

    def __init__(self, content: bytes | mmap.mmap) -> None:
        self.data: Buffer = memoryview(content) if isinstance(content, mmap.mmap) else content
        self._content = content

    def let_go(self) -> None:
        """As `bnfold.intake.data_folder.let_go`."""
        if isinstance(self._content, mmap.mmap):
            let_go(self._content)


def read_model_file(path: Path) -> ModelFile:
    """All of an ONNX file; a large one is mapped.

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
            if not size:
                raise ModelFormatError("is empty")
            if size > _SMALL and not _KEEPS_MAPPED_FILES:
                return ModelFile(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
            return ModelFile(file.read(size))
    except OSError as error:
        raise ModelFormatError(f"cannot be read: {error.strerror or error}") from error
