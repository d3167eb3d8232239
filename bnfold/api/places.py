"""Where results are written: beside their target first, and never over an input."""

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from bnfold.api.stopwatch import Stopwatch
from bnfold.errors import UnsupportedModelError, UsageError
from bnfold.report.readable import Report
from bnfold.writing.data_names import is_named_after
from bnfold.writing.destination import Destination
from bnfold.writing.publishing import publish_files


@dataclass(frozen=True)
class Staged:
    """A checked result that waits in its staging folder.

    Attributes:
        report: of the run so far.
        files: to move to the target's folder, the model last; none of a dry run.
    """

    report: Report
    files: tuple[Path, ...] = ()


def publish(staged: Staged, folder: Path, target: Destination) -> Report:
    """Move a staged result to its place; see `bnfold.writing.publishing`.

    Args:
        staged: as the process that read the model tells it, which the model may have taken over.
        folder: the staging folder.
        target: where the result goes.

    Raises:
        UsageError: the folder does not take it; what was there before is still there.
        UnsupportedModelError: what is staged is no result.
    """
    if not _is_result(staged.files, folder, target):
        raise UnsupportedModelError("took over the process that read it, while it was written")
    watch = Stopwatch(staged.report.seconds)
    warnings = publish_files(staged.files, target)
    watch.lap("save")
    return replace(staged.report, seconds=watch.seconds, warnings=(*staged.report.warnings, *warnings))


def _is_result(files: Sequence[Path], folder: Path, target: Destination) -> bool:
    """Whether these are a file for the target and data beside it, so that nothing else is moved, read or replaced."""
    plain = all(path.parent == folder and path.is_file() and not path.is_symlink() for path in files)
    names = [path.name for path in files]
    data = [target.path.with_name(name) for name in names[:-1]]
    return plain and names[-1:] == [target.path.name] and all(is_named_after(target.path, path) for path in data)


def check_target(source: Path, data_files: Sequence[Path], target: Destination, *, in_place: bool) -> None:
    """Refuse a target that cannot hold the result, or would overwrite a file of the source without being the source."""
    if target.is_stream:
        if data_files:
            raise UsageError(
                f"{target.given} takes one file, and the external data of the model needs one beside it: "
                "give the name of a file to write"
            )
        return
    if in_place and target.path.exists() and target.path.samefile(source):
        if data_files and Path(os.path.realpath(source.parent)) != target.path.parent:
            raise UsageError(
                f"{source} is a link, and its external data lies beside the link: in place, neither would find the "
                "other any more; choose another output"
            )
        return
    inputs = [source, *data_files]
    for written in (target.path, target.path.with_name(f"{target.path.name}.data")):
        for path in inputs:
            if written.exists() and path.exists() and written.samefile(path):
                raise UsageError(f"{written} is an input and would be overwritten: choose another output")


def size_of(files: Sequence[Path]) -> int:
    """Bytes of some files."""
    return sum(path.stat().st_size for path in files)
