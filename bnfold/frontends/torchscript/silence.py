"""torch.jit is deprecated upstream and says so on every call. Only these very sentences are silenced."""

import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

_SENTENCES = (
    "`torch.jit.load` is deprecated. Please switch to `torch.export`.",
    "`torch.jit.save` is deprecated. Please switch to `torch.export`.",
)


@contextmanager
def torch_jit_deprecations_silenced() -> Iterator[None]:
    """Loading and saving do not say that they are deprecated; every other warning comes through."""
    with warnings.catch_warnings():
        for sentence in _SENTENCES:
            warnings.filterwarnings("ignore", f"{re.escape(sentence)}$", DeprecationWarning)
        yield
