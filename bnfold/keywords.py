"""What messages call the wishes of a caller: keywords of the Python API, unless another door has words of its own."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeAlias

Spelling: TypeAlias = Callable[[str, object], str]
"""Given the name of a keyword, and a value of it or None, how to ask for that."""


def keyword(name: str, value: object = None) -> str:
    """How the caller asks for something, as part of a message.

    Args:
        name: a field of FoldOptions, or a field of another class behind its name: "VerifyOptions.inputs".
        value: to show, such as False, or {"image": (1, 3, 224, 224)} for shapes; None names the keyword alone.
    """
    return _spelling(name, value)


@contextmanager
def spelled(spelling: Spelling) -> Iterator[None]:
    """Let messages of this process use other words, such as options of a command line."""
    global _spelling
    before, _spelling = _spelling, spelling
    try:
        yield
    finally:
        _spelling = before


def _as_python(name: str, value: object) -> str:
    return name if value is None else f"{name}={value!r}"


_spelling: Spelling = _as_python
