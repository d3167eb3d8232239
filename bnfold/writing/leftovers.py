"""Data files that nothing needs once a model is replaced: its own are removed, others are told of."""

import os
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from bnfold.writing.data_names import is_fresh_name, is_named_after
from bnfold.writing.locations import data_files_of

_NOTE = ".replaced"
"""In a staging folder: names of data files of the model that is about to be replaced."""


def note_what_goes(staging: Path, old_data: Iterable[Path]) -> None:
    """Write down in a staging folder what `remove_leftovers` is to look at, for the call after one that is killed."""
    names = b"\0".join(sorted(os.fsencode(path.name) for path in old_data))
    if names:
        (staging / _NOTE).write_bytes(names)


def remove_noted_leftovers(model: Path, staging: Path) -> None:
    """Remove what a killed call noted and did not get to: it may have been killed before its rename or behind it."""
    with suppress(OSError):
        names = (staging / _NOTE).read_bytes().split(b"\0")
        remove_leftovers(model, {model.parent / os.fsdecode(name) for name in names})


def remove_leftovers(model: Path, old_data: Iterable[Path]) -> list[str]:
    """Remove what the model that was replaced leaves behind, and what calls left that were killed before their rename.

    A file goes if it is named after the model and no file in the folder names it as its data; any other stays.

    Args:
        model: the new one, in its place.
        old_data: the data files of the one that it replaced.

    Returns:
        What stays, and why, of the old data.
    """
    abandoned = {model.parent / name for name in _names_in(model.parent) if is_fresh_name(model, name)}
    candidates = {path for path in {*old_data, *abandoned} if path.is_file()}
    candidates -= data_files_of(model) if candidates else set()
    if not candidates:
        return []
    readers = _readers(model.parent, candidates)
    warnings = []
    for path in sorted(candidates):
        kept = _kept_or_removed(model, path, readers.get(path))
        if kept and path in old_data:
            warnings.append(f"{path.name} held data of the model that was replaced, and stays: {kept}")
    return warnings


def _kept_or_removed(model: Path, path: Path, reader: str | None) -> str:
    """Why a file stays; nothing where it is gone."""
    if reader is not None:
        return f"{reader} reads it too"
    if not is_named_after(model, path):
        return "the new model does not read it; remove it if nothing else does"
    try:
        os.unlink(path)
    except OSError as error:
        return f"it cannot be removed: {error.strerror or error}"
    return ""


def _readers(folder: Path, files: set[Path]) -> dict[Path, str]:
    """For each of these files, the name of a file in the folder that names it as its data, where there is one."""
    return {data: name for name in _names_in(folder) for data in data_files_of(folder / name) & files}


def _names_in(folder: Path) -> list[str]:
    try:
        return sorted(os.listdir(folder))
    except OSError:
        return []
