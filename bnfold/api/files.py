"""fold_file: a file becomes another, in one step."""

import os
from pathlib import Path
from typing import TYPE_CHECKING

from bnfold.api.endings import check_ending
from bnfold.api.formats.protocol import Progress, untold
from bnfold.api.formats.registry import ONNX, format_of_file
from bnfold.api.opening import naming
from bnfold.api.options import FoldOptions, parse_options
from bnfold.api.pipeline import plan, stage
from bnfold.api.places import Staged, publish
from bnfold.api.reproducing import reproduction_kept
from bnfold.api.stopwatch import Stopwatch
from bnfold.api.typed import FileKeywords, with_keywords_of
from bnfold.api.unchanged import unchanged
from bnfold.errors import UsageError
from bnfold.guard import Limits, Watching, can_guard, finish, watch
from bnfold.report.readable import Report
from bnfold.writing.destination import Destination, destination_of
from bnfold.writing.staging import staging_folder

if TYPE_CHECKING:
    from typing_extensions import Unpack


@with_keywords_of(FoldOptions)
def fold_file(
    source: str | os.PathLike[str],
    target: str | os.PathLike[str] | None,
    options: FoldOptions | None = None,
    *,
    in_place: bool = False,
    progress: Progress = untold,
    limits: Limits | None = None,
    **keywords: "Unpack[FileKeywords]",
) -> Report:
    """Fold a file into another of the same format, or of the one that the options name.

    The result is written beside its target under a temporary name, checked as written, and only then moved there.

    Args:
        source: the model; its format is told by its content.
        target: where to write, over a link to what it links to; a device or a pipe is written through. None plans only,
            and neither checks nor writes.
        options: what to fold and how to check it.
        in_place: whether target may be source.
        progress: told what is being done.
        limits: of a child process that does the work up to the last step, so that a model that crashes a library or
            never ends costs no more than an error; for callers without threads of their own, on systems that can
            fork. None works in this process.
        **keywords: the fields of `FoldOptions`, in place of options.

    Raises:
        ModelFormatError, UnsupportedModelError: the source cannot be read or folded, is not there, or is changed
            meanwhile.
        UsageError: the target cannot be written, or would overwrite a file of the source; torch is needed and missing;
            options and keywords are both given.
        VerificationError: the result does not equal the original; nothing is written. The error carries the report.
        UncheckedError: equality could not be checked; likewise.

    Examples:
        >>> bnfold.fold_file("model.onnx", "model.folded.onnx")
        <Report on model.onnx: 4 of 4 BatchNorms folded, check passed>
        >>> bnfold.fold_file("model.onnx", None)
        <Report on model.onnx: 4 of 4 BatchNorms would be folded, a plan>
    """
    if options is not None and keywords:
        raise UsageError(f"options and {', '.join(keywords)} are both given: put all of them into one")
    chosen = parse_options(dict(keywords)) if options is None else options
    with naming(Path(source)):
        place = None if target is None else Path(target)
        return finish(folding_file(Path(source), place, chosen, in_place=in_place, progress=progress, limits=limits))


def folding_file(
    source: Path,
    target: Path | None,
    options: FoldOptions,
    *,
    in_place: bool,
    progress: Progress,
    limits: Limits | None,
) -> Watching[Report]:
    """`fold_file`, as work that `bnfold.guard.finish_all` does beside others: results go to their places in turn.

    Errors do not name the file: whoever works on several of them says of which one an error is.

    Args and Raises: as `fold_file`.
    """
    destination = None if target is None else destination_of(target)
    with staging_folder(destination) as folder:

        def work(step: Progress) -> Staged:
            return _stage(source, destination, folder, options, step, in_place=in_place)

        with unchanged(source), reproduction_kept(options, folder):
            if limits is not None and can_guard():
                staged = yield from watch(work, progress, source, folder, limits)
            else:
                staged = work(progress)
        if destination is None:
            return staged.report
        yield None
        return publish(staged, folder, destination)


def _stage(
    path: Path, target: Destination | None, folder: Path, options: FoldOptions, progress: Progress, *, in_place: bool
) -> Staged:
    stopwatch, row = Stopwatch(), format_of_file(path)
    if target is None:
        source = row.format().open(path, options, None)
        stopwatch.lap("load")
        return Staged(plan(source, str(path), stopwatch, progress, read=(path, *source.data_files)))
    check_ending(path, target.given, ONNX if options.to == "onnx" else row, row)
    source = row.format().open(path, options, folder)
    stopwatch.lap("load")
    return stage(source, path, target, folder, stopwatch, progress, in_place=in_place)
