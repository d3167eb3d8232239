"""Files of external data: found below the model's folder, opened, and mapped. Nothing leads out of that folder."""

import mmap as mmap_module
import os
import stat
from mmap import ACCESS_READ, mmap
from pathlib import Path, PurePath

import numpy as np
import numpy.typing as npt

from bnfold.errors import ModelFormatError

Bytes = npt.NDArray[np.uint8]

_LETS_GO: int | None = getattr(mmap_module, "MADV_DONTNEED", None)

# A link that is put there between the look and the opening is not followed, and a pipe is not waited for.
_FLAGS = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
_KINDS = (
    (stat.S_ISDIR, "a folder"),
    (stat.S_ISFIFO, "a pipe"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
    (stat.S_ISSOCK, "a socket"),
)


def kind_of_place(mode: int) -> str:
    """What a path leads to instead of a regular file, such as "a folder"; "" where it is one.

    Args:
        mode: as os.stat has it.
    """
    if stat.S_ISREG(mode):
        return ""
    return next((name for is_kind, name in _KINDS if is_kind(mode)), "no file")


class DataFolder:
    """The folder of a model, and the data files in it, each mapped once.

    Links are followed, and where they end must lie below the folder of the model, or below that of the file that the
    model itself is a link to: caches of model hubs are made of such links. Files with several hard links are refused,
    as onnx does, because their other names may lie anywhere.

    Args:
        model: path of the model file.
    """

    def __init__(self, model: Path) -> None:
        self.path = model.absolute().parent
        self._model = model.resolve()
        self._roots = (self.path.resolve(), self._model.parent)
        self._mapped: dict[str, Bytes] = {}
        self._maps: list[mmap] = []

    def lies_plainly(self, location: str) -> bool:
        """Whether a file truly is in the folder that the model was named in, whatever links there are on the way."""
        return (self.path / location).resolve().is_relative_to(self._roots[0])

    def map(self, location: str) -> Bytes:
        """All bytes of a data file.

        Args:
            location: as the model has it.

        Raises:
            ModelFormatError: the location leads out of the folder, or to no regular file, or it cannot be read. The
                message goes on behind the name of a tensor.
        """
        if location not in self._mapped:
            self._mapped[location] = self._open(location)
        return self._mapped[location]

    def let_go(self) -> None:
        """Release the memory of what was read of the files so far; it can be read again."""
        for mapped in self._maps:
            let_go(mapped)

    def _open(self, location: str) -> Bytes:
        if not location or "\0" in location:
            raise ModelFormatError(f"lies in {location!r}, which names no file")
        if PurePath(location).is_absolute() or ".." in PurePath(location).parts:
            raise ModelFormatError(f"lies in {location!r}, outside the model's folder: refused")
        try:
            path = (self.path / location).resolve(strict=True)
            if not any(path.is_relative_to(root) for root in self._roots):
                raise ModelFormatError(
                    f"lies in {location!r}, which is a link to {str(path)!r}, outside the model's folder: refused; "
                    "put a copy of the data where the link is"
                )
            mapped = _map_file(path, location, may_have_names=path == self._model)
        except (OSError, RuntimeError) as error:  # RuntimeError: links in a circle
            reason = getattr(error, "strerror", None) or error
            raise ModelFormatError(f"lies in {location!r}, which cannot be read: {reason}") from error
        if mapped is None:
            return np.zeros(0, np.uint8)
        self._maps.append(mapped)
        return np.frombuffer(mapped, np.uint8)


def let_go(mapped: mmap) -> None:
    """Give pages of a mapped file that were read back to the system (madvise), where it supports that."""
    if _LETS_GO is not None:
        mapped.madvise(_LETS_GO)


def _map_file(path: Path, location: str, *, may_have_names: bool) -> mmap | None:
    """The file; None where it is empty, and cannot be mapped."""
    # What stands there is asked for first: to open a device can be an act of its own.
    _refuse_unless_regular(os.stat(path, follow_symlinks=False), location, may_have_names=may_have_names)
    descriptor = os.open(path, _FLAGS)
    try:
        status = os.fstat(descriptor)
        _refuse_unless_regular(status, location, may_have_names=may_have_names)
        return mmap(descriptor, 0, access=ACCESS_READ) if status.st_size else None
    finally:
        os.close(descriptor)


def _refuse_unless_regular(status: os.stat_result, location: str, *, may_have_names: bool) -> None:
    kind = kind_of_place(status.st_mode)
    if kind:
        raise ModelFormatError(f"lies in {location!r}, which is {kind}, not a file")
    if status.st_nlink > 1 and not may_have_names:
        raise ModelFormatError(
            f"lies in {location!r}, a file with {status.st_nlink} hard links, of which others may lie outside the "
            "model's folder: refused, as onnx does; put a copy of the data there"
        )
