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
    with _opened(folder) as descriptor:
        if descriptor is not None and fcntl is not None:
            with suppress(OSError):
                fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield


@contextmanager
def held(folder: Path) -> Iterator[bool]:
    """Hold a folder while inside, unless another process does.

    Yields:
        Whether it is held now. A file system without locks says no.
    """
    with _opened(folder) as descriptor:
        yield descriptor is not None and _take(descriptor)


def _take(descriptor: int) -> bool:
    if fcntl is None:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


@contextmanager
def _opened(folder: Path) -> Iterator[int | None]:
    """Its descriptor, if it can be opened; closed afterwards, also where a signal is raised between two steps.

    One that stayed open would keep its lock, and the next call of this process would wait for ever.
    """
    opened: list[int] = []
    try:
        try:
            with suppress(OSError):
                opened.extend(map(os.open, [folder], [os.O_RDONLY]))  # one step: it is open and known, or neither
            yield opened[0] if opened else None
        finally:
            _close(opened)
    finally:
        _close(opened)


def _close(opened: list[int]) -> None:
    any(map(os.close, map(opened.pop, range(len(opened)))))  # one step, for the same reason
