"""Where results are written: beside their target first, and never over an input."""

import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from bnfold.errors import UsageError


@contextmanager
def staging_folder(target: Path) -> Iterator[Path]:
    """A folder beside the target, gone afterwards whatever happens."""
    try:
        folder = Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=target.parent))
    except OSError as error:
        raise UsageError(f"{target} cannot be written: {error.strerror or error}") from error
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


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
