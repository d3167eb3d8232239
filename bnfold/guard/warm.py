"""Packages that are imported once before the first fork, so that not every child has to: torch takes seconds."""

import importlib
import sys
from contextlib import suppress

_unused: set[str] = set()


def import_unused(package: str) -> None:
    """Import a package here of which nothing runs here; one that is missing is told by the child that needs it."""
    if package not in sys.modules:
        with suppress(ImportError):
            importlib.import_module(package)
            _unused.add(package)


def is_unused(package: str) -> bool:
    """Whether nothing of a package has run before a fork, so that its threads can still start behind it."""
    return package in _unused
