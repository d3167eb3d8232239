"""How many processors this process may use, where several processes of one call share them."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

_sharing = [1]


@contextmanager
def shared_among(processes: int) -> Iterator[None]:
    """Inside, this process and those that it forks are so many that work at a time."""
    _sharing.append(max(1, processes))
    try:
        yield
    finally:
        _sharing.pop()


def usable() -> int:
    """The processors that the system lets this process use, divided by the processes that share them; at least 1."""
    return max(1, allowed() // _sharing[-1])


def is_shared() -> bool:
    """Whether other processes of this call work at the same time."""
    return _sharing[-1] > 1


def allowed() -> int:
    """The processors that the system lets this process use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
