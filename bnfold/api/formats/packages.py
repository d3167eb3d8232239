"""Packages that the user names, whose operators and classes a program may then use."""

import importlib
from collections.abc import Iterable

from bnfold.errors import UsageError


def import_packages(names: Iterable[str]) -> None:
    """Import packages, which registers what they add to torch.

    Raises:
        UsageError: one is no name of a package, is not installed, or fails while it is imported.
    """
    for name in names:
        if not all(part.isidentifier() for part in name.split(".")):
            raise UsageError(f"imports must be names of packages, got {name!r}")
        try:
            importlib.import_module(name)
        except Exception as error:  # whatever its code raises
            what = str(error).splitlines()[:1]
            raise UsageError(f"{name} cannot be imported: {what[0] if what else type(error).__name__}") from error
