"""A file as its format opens it, and errors about it with its name."""

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TypeGuard

from bnfold.api.formats.protocol import Format, Source
from bnfold.api.formats.registry import FormatRow, format_of_file
from bnfold.api.options import FoldOptions
from bnfold.api.rehearsal import rehearse
from bnfold.errors import ModelFormatError, NotInstalledError, UnsupportedModelError, VerificationError


def is_path(model: object) -> "TypeGuard[str | os.PathLike[str]]":
    """Whether a caller gave a path and no model."""
    return isinstance(model, (str, os.PathLike))


@contextmanager
def loaded(path: Path, options: FoldOptions) -> Iterator[Source]:
    """A file of which the result is to live in memory.

    Raises:
        UsageError, ModelFormatError, UnsupportedModelError: as `bnfold.fold`.
    """
    with ExitStack() as stack:
        with naming(path):
            source = stack.enter_context(format_for(path, options).load(path, options))
        yield source


def row_of(path: Path) -> FormatRow:
    """What is known of the format of a file.

    Raises:
        ModelFormatError, UnsupportedModelError: it is not there, or of no format that bnfold knows.
    """
    with naming(path):
        return format_of_file(path)


def format_for(path: Path, options: FoldOptions) -> Format:
    """The format of a file. If opening it runs code, it is opened in a child process first."""
    row = format_of_file(path)
    form = row.format()
    if row.runs_code:
        rehearse(path, form, options)
    return form


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """Let errors about a file name it; those about its check are about two models."""
    try:
        yield
    except VerificationError:
        raise
    except (ModelFormatError, UnsupportedModelError, NotInstalledError) as error:
        raise type(error)(f"{path} {error}") from error
