"""Locks on folders. They end with the process that holds them, however it ends, and leave no file behind."""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

try:
    import fcntl
except ImportError:  # not a Unix: nothing is locked there, and nothing counts as left behind
    fcntl = None  # type: ignore[assignment]


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold the lock of a folder, and wait for it where another process does.

    A file system without locks lets everybody in.
    """
    descriptor = _open(folder)
    try:
        if descriptor is not None and fcntl is not None:
            with suppress(OSError):
                fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        _close(descriptor)


@contextmanager
def held(folder: Path) -> Iterator[bool]:
    """Hold a folder while inside, unless another process does.

    Yields:
        Whether it is held now. A file system without locks says no.
    """
    descriptor = _open(folder)
    try:
        yield descriptor is not None and _take(descriptor)
    finally:
        _close(descriptor)


def _take(descriptor: int) -> bool:
    if fcntl is None:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def _open(folder: Path) -> int | None:
    try:
        return os.open(folder, os.O_RDONLY)
    except OSError:
        return None


def _close(descriptor: int | None) -> None:
    if descriptor is not None:
        os.close(descriptor)
