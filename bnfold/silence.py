"""What others print while they work, from Python or from C++, kept off the standard output."""

import contextlib
import ctypes
import io
import os
import sys
from collections.abc import Iterator


@contextlib.contextmanager
def nothing_printed() -> Iterator[None]:
    """Send to nowhere what is printed meanwhile, by any thread.

    Python's own prints go by sys.stdout, those of C and C++ by the file descriptor; torch prints graphs of many
    kilobytes there before it raises.
    """
    with contextlib.redirect_stdout(io.StringIO()), _descriptor_to_nowhere(1):
        yield


@contextlib.contextmanager
def _descriptor_to_nowhere(descriptor: int) -> Iterator[None]:
    try:
        before = os.dup(descriptor)
    except OSError:  # it is closed: nothing gets out anyway
        yield
        return
    _flush()
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, descriptor)
        yield
    finally:
        _flush()
        os.dup2(before, descriptor)
        os.close(nowhere)
        os.close(before)


def _flush() -> None:
    """Empty the buffers: what was printed before comes out, and what was printed meanwhile does not come out later."""
    with contextlib.suppress(OSError, ValueError, AttributeError):
        sys.__stdout__.flush()  # type: ignore[union-attr]
    with contextlib.suppress(OSError, AttributeError, TypeError):
        ctypes.CDLL(None).fflush(None)
