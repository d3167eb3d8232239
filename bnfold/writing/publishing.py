"""The step that makes a staged result the result. A model and its data change in one rename, that of the model.

The order: new data under a name that is free, to disk; the model over the old one, to disk; then the old data goes.
Whatever ends the process in between, the model that is there finds its own data.
"""

import os
import shutil
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path

from bnfold.errors import UsageError
from bnfold.writing.data_names import holds_the_same, is_named_after
from bnfold.writing.destination import Destination, cannot_be_written
from bnfold.writing.leftovers import note_what_goes, remove_leftovers
from bnfold.writing.locations import data_files_of
from bnfold.writing.locks import locked
from bnfold.writing.rights import take_over_rights


def publish_files(staged: Sequence[Path], destination: Destination) -> tuple[str, ...]:
    """Move a staged result to its place.

    A file that replaces another takes over its rights and its owner, as far as this user may give them.

    Args:
        staged: files of a staging folder, under their final names; the last one is the result, the others its data.
        destination: of the result; the data goes beside it.

    Returns:
        Warnings: what stays of the old result, and what could not be kept of it.

    Raises:
        UsageError: the destination does not take it. What was there is as it was.
    """
    *data, result = staged
    if destination.is_stream:
        return _pass_through(data, result, destination)
    target = destination.path
    with locked(target.parent):
        old_data = data_files_of(target)
        warnings: list[str] = []
        mine = result.stat()
        try:
            _to_disk([*data, result])
            warnings += take_over_rights(result, target)
            example = min((path for path in old_data if is_named_after(target, path)), default=target)
            for path in data:
                take_over_rights(path, example)
            note_what_goes(result.parent, old_data)
            _commit(data, result, target)
            with suppress(OSError):  # the rename is done, and cannot be undone any more
                _folder_to_disk(target.parent)
            return (*warnings, *remove_leftovers(target, old_data))
        except OSError as error:
            raise cannot_be_written(destination.given, error) from error
        except BaseException:  # a signal
            if _is(target, mine):
                remove_leftovers(target, old_data)
            raise


def _pass_through(data: Sequence[Path], result: Path, destination: Destination) -> tuple[str, ...]:
    assert not data, "check_target lets no model with external data go to a stream"
    with result.open("rb") as source, destination.open_stream() as stream:
        shutil.copyfileobj(source, stream)
    return ()


def _commit(data: Sequence[Path], result: Path, target: Path) -> None:
    """The data first, then the result; without the result, the data goes again.

    What was done is asked of the file system, since a signal may come between a step and the next line: a file that was
    moved is still the same.
    """
    mine = result.stat()
    places = {target.with_name(path.name): path.stat() for path in data}
    try:
        for path, place in zip(data, places, strict=True):
            _place(path, place)
        if data:
            _folder_to_disk(target.parent)
        os.replace(result, target)
    except BaseException:
        if not _is(target, mine):
            for place, status in places.items():
                if _is(place, status):
                    with suppress(OSError):
                        os.unlink(place)
        raise


def _place(path: Path, place: Path) -> None:
    """Put a data file where nothing is yet, or what is there is the same."""
    try:
        os.link(path, place)
    except FileExistsError:
        if not holds_the_same(place, path):
            raise UsageError(f"{place} was written by somebody else meanwhile: try again") from None
    except OSError:  # a file system without hard links
        if os.path.lexists(place):
            raise
        os.rename(path, place)


def _is(path: Path, status: os.stat_result) -> bool:
    try:
        return os.path.samestat(path.stat(), status)
    except OSError:
        return False


def _to_disk(files: Iterable[Path]) -> None:
    for path in files:
        with path.open("r+b") as file:
            os.fsync(file.fileno())


def _folder_to_disk(folder: Path) -> None:
    """The names in a folder, where the system and the user's rights let it be opened."""
    try:
        descriptor = os.open(folder, os.O_RDONLY)
    except PermissionError:
        return
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
