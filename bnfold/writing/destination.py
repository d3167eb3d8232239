"""Where a result goes: a file that is replaced in one step, or a device, pipe or descriptor that is written through."""

import errno
import os
import re
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from bnfold.errors import UsageError

STDOUT = Path("/dev/stdout")
"""Standard output, on every system."""

_MOST_LINKS = 40


@dataclass(frozen=True)
class Destination:
    """Where one result goes.

    Attributes:
        given: the path as somebody gave it.
        path: the file to replace, behind all links; of a stream, as given.
        is_stream: whether it is a pipe, a device or a descriptor: it is written through, and not replaced.
        descriptor: the number, where the path names a descriptor of this process, such as /dev/stdout.
    """

    given: Path
    path: Path
    is_stream: bool = False
    descriptor: int | None = None

    @contextmanager
    def open_stream(self) -> Iterator[BinaryIO]:
        """Open the stream for writing.

        Raises:
            UsageError: it does not take what is written.
        """
        try:
            target = self.path if self.descriptor is None else os.dup(self.descriptor)
            with open(target, "wb") as stream:
                yield stream
        except OSError as error:
            raise cannot_be_written(self.given, error) from error


def destination_of(given: Path) -> Destination:
    """Where a path leads. Links are followed, also to where nothing is yet.

    Raises:
        UsageError: it is a folder or a disk, or its links go in circles.
    """
    descriptor = _own_descriptor(given)
    try:
        mode = given.stat().st_mode if descriptor is None else os.fstat(descriptor).st_mode
    except OSError as error:
        if descriptor is not None or error.errno == errno.ELOOP:
            raise cannot_be_written(given, error) from error
        return Destination(given, Path(os.path.realpath(given)))
    if stat.S_ISDIR(mode):
        raise UsageError(f"{given} cannot be written: it is a folder")
    if stat.S_ISBLK(mode):
        raise UsageError(f"{given} cannot be written: it is a disk")
    if descriptor is not None or not stat.S_ISREG(mode):
        return Destination(given, given, is_stream=True, descriptor=descriptor)
    return Destination(given, Path(os.path.realpath(given)))


def cannot_be_written(path: Path, error: OSError) -> UsageError:
    """The error for a path that cannot be written, with the reason that the system gave."""
    return UsageError(f"{path} cannot be written: {error.strerror or error}")


def _own_descriptor(path: Path) -> int | None:
    """The number of the descriptor that /dev/stdout, /dev/fd/3 or /proc/self/fd/3 stand for, over links too.

    What they link to is not asked: a file that standard output was redirected to has another position there.
    """
    for _ in range(_MOST_LINKS):
        if path == STDOUT:
            return 1
        folder = os.path.realpath(path.parent)
        if path.name.isdecimal() and re.fullmatch(rf"/dev/fd|/proc/{os.getpid()}(/task/\d+)?/fd", folder):
            return int(path.name)
        if not path.is_symlink():
            return None
        path = Path(folder, os.readlink(path))
    return None
