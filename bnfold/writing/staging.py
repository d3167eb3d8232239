"""Where a result lies until it is judged: a hidden folder beside its destination, so that moving it is one step."""

import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from bnfold.writing.destination import Destination, cannot_be_written
from bnfold.writing.leftovers import remove_noted_leftovers
from bnfold.writing.locks import held, locked

_LONGEST_NAME = 200  # bytes of the target's name that a folder's name repeats; file systems take 255 in all
_RANDOM = r"[a-z0-9_]{8}"


@contextmanager
def staging_folder(destination: Destination | None) -> Iterator[Path]:
    """A folder beside a file's destination, anywhere for a stream or for none; gone afterwards whatever happens.

    What killed processes left beside the same destination goes as well. A folder in use is held by its process, so
    that the two cannot be mistaken.

    Raises:
        UsageError: the destination's folder refuses.
    """
    if destination is None or destination.is_stream:
        with _removed_afterwards(Path(tempfile.gettempdir(), f"bnfold-{_random(16)}")) as folder:
            folder.mkdir(mode=0o700)
            yield folder
        return
    with _folder_beside(destination) as folder:
        yield folder


@contextmanager
def _folder_beside(destination: Destination) -> Iterator[Path]:
    parent, prefix = destination.path.parent, _prefix(destination.path.name)
    with ExitStack() as stack:
        # Between its making and its being held, a folder looks like one that was left behind.
        with locked(parent):
            _remove_left_behind(destination.path, prefix)
            folder = stack.enter_context(_removed_afterwards(_free_name(parent, prefix)))
            try:
                folder.mkdir(mode=0o700)
            except OSError as error:
                raise cannot_be_written(destination.given, error) from error
            stack.enter_context(held(folder))
        yield folder


@contextmanager
def _removed_afterwards(folder: Path) -> Iterator[Path]:
    """Remove a folder, which nobody else has and which need not be there yet, whatever happens inside.

    A signal is raised between any two steps: so the folder is known before it is made, and a removal that one
    interrupts is followed by another one. A second signal waits.
    """
    try:
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _free_name(parent: Path, prefix: str) -> Path:
    """Of a folder that is not there, while the parent is locked."""
    while os.path.lexists(folder := parent / f"{prefix}{_random(4)}"):
        pass
    return folder


def _prefix(name: str) -> str:
    """Of UTF-8, since onnxruntime opens no other folders."""
    return f".{os.fsencode(name)[:_LONGEST_NAME].decode('utf-8', errors='replace')}.bnfold-"


def _remove_left_behind(target: Path, prefix: str) -> None:
    try:
        names = os.listdir(target.parent)
    except OSError:
        return
    for name in names:
        path = target.parent / name
        if re.fullmatch(re.escape(prefix) + _RANDOM, name) and path.is_dir() and not path.is_symlink():
            with held(path) as is_mine:
                if is_mine:
                    remove_noted_leftovers(target, path)
                    shutil.rmtree(path, ignore_errors=True)


def _random(count: int) -> str:
    """So many bytes that nobody can guess, in hexadecimal; `secrets` would take OpenSSL along, which takes time."""
    return os.urandom(count).hex()
