"""Reading and writing through torch.jit, which is deprecated upstream and says so on every call.

Only these very sentences are silenced; every other warning comes through.
"""

import io
import re
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, cast

import torch

_SENTENCES = (
    "`torch.jit.load` is deprecated. Please switch to `torch.export`.",
    "`torch.jit.save` is deprecated. Please switch to `torch.export`.",
)


def read_module(source: str | io.BytesIO, device: str | None = None) -> torch.jit.ScriptModule:
    """Load a module.

    Args:
        source: a path or the bytes.
        device: where its tensors go; None for where they were.

    Raises:
        RuntimeError, ValueError: as torch.jit.load.
    """
    load = cast("Callable[..., Any]", torch.jit.load)
    with _deprecations_silenced():
        return cast("torch.jit.ScriptModule", load(source, map_location=device))


def write_module(module: torch.jit.ScriptModule, target: str | io.BytesIO) -> None:
    """Save a module.

    Raises:
        RuntimeError: as torch.jit.save.
    """
    with _deprecations_silenced():
        torch.jit.save(module, target)


@contextmanager
def _deprecations_silenced() -> Iterator[None]:
    with warnings.catch_warnings():
        for sentence in _SENTENCES:
            for category in (DeprecationWarning, FutureWarning):  # of torch up to 2.13, and of newer ones
                warnings.filterwarnings("ignore", f"{re.escape(sentence)}$", category)
        yield
