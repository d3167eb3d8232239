"""Where results are written: beside their target first, and never over an input."""

import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from bnfold.api.stopwatch import Stopwatch
from bnfold.errors import UsageError
from bnfold.report.model import Report


@dataclass(frozen=True)
class Staged:
    """A checked result that waits in its staging folder.

    Attributes:
        report: of the run so far.
        files: to move to the target's folder, the model last; none of a dry run.
    """

    report: Report
    files: tuple[Path, ...] = ()


@contextmanager
def staging_folder(target: Path | None) -> Iterator[Path]:
    """A folder beside the target, or anywhere for a dry run; gone afterwards whatever happens."""
    try:
        if target is None:
            folder = Path(tempfile.mkdtemp(prefix="bnfold."))
        else:
            folder = Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=target.parent))
    except OSError as error:
        raise UsageError(f"{target} cannot be written: {error.strerror or error}") from error
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def publish(staged: Staged, target: Path) -> Report:
    """Move a staged result to its place, each file in one step, the model last.

    Raises:
        UsageError: the folder does not take it.
    """
    watch = Stopwatch(staged.report.seconds)
    for path in staged.files:
        try:
            os.replace(path, target.parent / path.name)
        except OSError as error:
            raise UsageError(f"{target.parent / path.name} cannot be written: {error.strerror or error}") from error
    watch.lap("save")
    return replace(staged.report, seconds=watch.seconds)


def check_target(source: Path, data_files: Sequence[Path], target: Path, *, in_place: bool) -> None:
    """Refuse a target that is a folder, or that would overwrite a file of the source without being the source."""
    if target.is_dir():
        raise UsageError(f"{target} cannot be written: it is a folder")
    if in_place and target.exists() and target.samefile(source):
        return
    inputs = [source, *data_files]
    for written in (target, target.with_name(f"{target.name}.data")):
        for path in inputs:
            if written.exists() and path.exists() and written.samefile(path):
                raise UsageError(f"{written} is an input and would be overwritten: choose another output")


def size_of(files: Sequence[Path]) -> int:
    """Bytes of some files."""
    return sum(path.stat().st_size for path in files)
