"""Signs of life from inside long work, for whoever watches over it: a step that gives none for too long hangs."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

_listeners: list[Callable[[], None]] = []


def beat() -> None:
    """Say that a step is done, such as one run of a model, and that the next one begins."""
    for listener in _listeners:
        listener()


@contextmanager
def heard_by(listener: Callable[[], None]) -> Iterator[None]:
    """Call a function, which must not raise, at every beat inside, from whatever thread it comes."""
    _listeners.append(listener)
    try:
        yield
    finally:
        _listeners.remove(listener)
