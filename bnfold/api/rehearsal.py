"""Opening a file in a child process first: a library runs code of the file on loading, and its reader can crash."""

from pathlib import Path

from bnfold.api.formats.protocol import Format, Progress
from bnfold.api.options import FoldOptions
from bnfold.guard import Limits, can_guard, run_guarded
from bnfold.writing.staging import staging_folder


def rehearse(path: Path, form: Format, options: FoldOptions) -> None:
    """Open a file where it can do no harm; nothing happens where the system cannot guard.

    Raises:
        ModelFormatError, UnsupportedModelError, UsageError: as `Format.open`, also where the child crashed or hung.
    """

    def opening(_: Progress) -> None:
        form.open(path, options, None)

    if can_guard():
        with staging_folder(None) as folder:
            run_guarded(opening, lambda _: None, path, folder, Limits())
