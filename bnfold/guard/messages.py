"""The messages of a guarded process to the one that watches it: that it goes on, what it does, and how it ended.

The child may have been taken over by the file that it reads. So its answer is unpickled with a list of classes that
carry values, and nothing else.
"""

import io
import os
import pathlib
import pickle
import struct
import threading
from collections.abc import Iterator
from typing import Any

from bnfold.errors import UnexpectedError

BEAT, STEP, RESULT, ERROR = b"b", b"s", b"r", b"e"

_HEADER = struct.Struct(">cQ")
_LONGEST = 2**31
_LONGEST_STEP = 1000

_MODULES = frozenset(
    {
        "bnfold.api.places",
        "bnfold.errors",
        "bnfold.verifier.programs.result",
        "bnfold.timings",
        "bnfold.verification",
        "bnfold.int8",
        "bnfold.label",
        "bnfold.outcome",
        "bnfold.refusal",
        "bnfold.report.model",
        "bnfold.report.readable",
        "bnfold.scales",
    }
)
_VALUES: tuple[type, ...] = (
    *(pathlib.PosixPath, pathlib.WindowsPath, pathlib.PurePosixPath),
    *(frozenset, OSError, FileNotFoundError, PermissionError, MemoryError),
)
# By the names that pickle writes, which are not those of every version: in Python 3.13, Path is of pathlib._local.
_CLASSES = frozenset((kind.__module__, kind.__qualname__) for kind in _VALUES)


class Sender:
    """Writes messages to a pipe, whole ones from any thread."""

    def __init__(self, pipe: int) -> None:
        self._pipe = pipe
        self._lock = threading.Lock()

    def beat(self) -> None:
        """Say that work goes on."""
        self._send(BEAT, b"")

    def step(self, doing: str) -> None:
        """Say what begins now."""
        self._send(STEP, doing[:_LONGEST_STEP].encode(errors="backslashreplace"))

    def result(self, value: object) -> None:
        """Say that the work is done."""
        self._send(RESULT, pickle.dumps(value))

    def error(self, error: Exception) -> None:
        """Say why the work ended."""
        known = _is_known(type(error))
        self._send(ERROR, pickle.dumps(error if known else UnexpectedError.of(error)))

    def _send(self, kind: bytes, content: bytes) -> None:
        waiting = memoryview(_HEADER.pack(kind, len(content)) + content)
        with self._lock:
            while waiting:
                waiting = waiting[os.write(self._pipe, waiting) :]


class Receiver:
    """Cuts what comes out of a pipe into messages."""

    def __init__(self) -> None:
        self._waiting = bytearray()

    def take(self, data: bytes) -> Iterator[tuple[bytes, bytes]]:
        """The messages that are whole now: kind and content.

        Raises:
            ValueError: they are not those of a `Sender`.
        """
        self._waiting += data
        while len(self._waiting) >= _HEADER.size:
            kind, length = _HEADER.unpack_from(self._waiting)
            if kind not in (BEAT, STEP, RESULT, ERROR) or length > _LONGEST:
                raise ValueError("no message of a guarded process")
            end = _HEADER.size + length
            if len(self._waiting) < end:
                return
            content = bytes(self._waiting[_HEADER.size : end])
            del self._waiting[:end]
            yield kind, content


def read_value(content: bytes) -> Any:  # noqa: ANN401 - whatever the work gave
    """The value in a RESULT or an ERROR.

    Raises:
        pickle.UnpicklingError: it holds something that is no value of a report.
    """
    return _Values(io.BytesIO(content)).load()


def _is_known(kind: type) -> bool:
    return kind.__module__ in _MODULES or (kind.__module__, kind.__qualname__) in _CLASSES


class _Values(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:  # noqa: ANN401 - a class, or an enumeration
        if module in _MODULES and "." not in name:
            found = super().find_class(module, name)
            if isinstance(found, type) and found.__module__ == module:
                return found
        elif (module, name) in _CLASSES:
            return super().find_class(module, name)
        raise pickle.UnpicklingError(f"{module}.{name} is no value of a report")
