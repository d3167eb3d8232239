"""The Python API: fold, explain and verify, for files and for models in memory, of ONNX and of PyTorch."""

import os
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import onnx

from bnfold.api.endings import check_ending
from bnfold.api.formats.large_onnx import require_serialisable
from bnfold.api.formats.protocol import Format, Progress, Source
from bnfold.api.formats.registry import ONNX, FormatRow, format_of_file, format_of_object
from bnfold.api.options import IN_MEMORY, FoldOptions, FoldResult, parse_options
from bnfold.api.pipeline import fold_in_memory, plan, stage
from bnfold.api.places import Staged, publish
from bnfold.api.rehearsal import rehearse
from bnfold.api.stopwatch import Stopwatch
from bnfold.errors import ModelFormatError, UnsupportedModelError, UsageError
from bnfold.guard import Limits, Watching, can_guard, finish, watch
from bnfold.report.model import Report
from bnfold.verification import Verification, VerifyOptions
from bnfold.writing.destination import Destination, destination_of
from bnfold.writing.staging import staging_folder

if TYPE_CHECKING:
    from bnfold.verifier import ModelSource

__all__ = ["FoldOptions", "FoldResult", "explain", "fold", "fold_file", "verify"]


def fold(model: Any, **options: Any) -> FoldResult:  # noqa: ANN401 - several kinds, some of packages not installed
    """Fold every BatchNorm that can be folded.

    Args:
        model: a path, an onnx.ModelProto, an onnx_ir.Model, a torch.jit.ScriptModule or a
            torch.export.ExportedProgram; it is left unchanged, and so is the module that a program was exported from.
        **options: the fields of `FoldOptions`.

    Returns:
        The folded model, of the same kind (a path to an ONNX file gives a ModelProto with all data inside), and the
        report.

    Raises:
        UsageError: of another kind, or an unknown option, or torch is needed and missing; a model in memory is larger
            than protobuf serialises.
        ModelFormatError: it cannot be read.
        UnsupportedModelError: it can be read, but not folded.
        VerificationError: the result does not equal the original; the error carries the report.
        UncheckedError: equality could not be checked; likewise.
    """
    chosen, watch = parse_options(options), Stopwatch()
    if isinstance(model, (str, os.PathLike)):
        path = Path(model)
        with ExitStack() as stack:
            with _naming(path):
                source = stack.enter_context(_format_for(path, chosen).load(path, chosen))
            watch.lap("load")
            return fold_in_memory(source, str(model), watch)
    if _is_onnx_ir(model):
        from bnfold.api.formats.onnx_ir import fold_onnx_ir

        return fold_onnx_ir(model, chosen)
    source = format_of_object(model).format().hold(model, chosen)
    watch.lap("load")
    return fold_in_memory(source, IN_MEMORY, watch)


def explain(model: Any, **options: Any) -> Report:  # noqa: ANN401 - as fold
    """What `fold` would do, without checking it: every fold, and every node that stays and why.

    Args and Raises: as `fold`.
    """
    if not isinstance(model, (str, os.PathLike)):
        return fold(model, **{**options, "verify": None}).report
    chosen, watch, path = replace(parse_options(options), verify=None), Stopwatch(), Path(model)
    with _naming(path):
        source = _format_for(path, chosen).open(path, chosen, None)
        watch.lap("load")
        return plan(source, str(model), watch)


def verify(a: Any, b: Any, **options: Any) -> Verification:  # noqa: ANN401 - as fold, and bytes
    """Whether two models compute the same.

    Args:
        a: the reference: a path, serialised bytes of ONNX, an onnx.ModelProto, a torch.jit.ScriptModule or a
            torch.export.ExportedProgram. Where neither the caller nor a script says the shapes of its inputs, they are
            found as for `fold`, and a warning names them.
        b: the model to judge.
        **options: the fields of `VerifyOptions`.

    Raises:
        UsageError: an option is unknown or out of range; a model of ONNX cannot be compared with a program of PyTorch.
        InvalidOriginalError: the reference is no valid model.
        UncheckedError: the reference does not run, or memory ran out.
    """
    try:
        chosen = VerifyOptions(**options)
    except TypeError as error:
        raise UsageError(f"unknown option: {error}") from error
    rows = [_row_of(model) for model in (a, b)]
    if ONNX not in rows:
        return _verify_programs((a, rows[0]), (b, rows[1]), chosen)
    if rows != [ONNX, ONNX]:
        raise UsageError(f"cannot compare {rows[0].called} with {rows[1].called}: export both to ONNX, with to='onnx'")
    from bnfold.verifier import check, verdict_if_identical

    ours, theirs = map(_serialised, (a, b))
    return verdict_if_identical(ours, theirs, chosen) or check(ours, theirs, chosen)


def _row_of(model: Any) -> FormatRow:  # noqa: ANN401 - as verify
    """Of what is to be compared; what cannot be read is told by ONNX's reader."""
    if isinstance(model, (str, os.PathLike)):
        path = Path(model)
        with _naming(path):
            return format_of_file(path) if path.is_file() else ONNX
    return ONNX if isinstance(model, (bytes, onnx.ModelProto)) else format_of_object(model)


def _verify_programs(a: tuple[Any, FormatRow], b: tuple[Any, FormatRow], how: VerifyOptions) -> Verification:
    from bnfold.api.formats.programs import verify_programs

    with ExitStack() as stack:
        reference = stack.enter_context(_held(*a, FoldOptions(verify=how)))
        return verify_programs(reference, stack.enter_context(_held(*b, reference.options)))


@contextmanager
def _held(model: Any, row: FormatRow, options: FoldOptions) -> Iterator[Source]:  # noqa: ANN401 - as verify
    if not isinstance(model, (str, os.PathLike)):
        yield row.format().hold(model, options)
        return
    path = Path(model)
    with ExitStack() as stack:
        with _naming(path):
            source = stack.enter_context(_format_for(path, options).load(path, options))
        yield source


def fold_file(
    source: Path,
    target: Path | None,
    options: FoldOptions,
    *,
    in_place: bool = False,
    progress: Progress = lambda _: None,
    limits: Limits | None = None,
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

    Raises:
        ModelFormatError, UnsupportedModelError: the source cannot be read or folded.
        UsageError: the target cannot be written, or would overwrite a file of the source; torch is needed and missing.
        VerificationError: the result does not equal the original; nothing is written. The error carries the report.
        UncheckedError: equality could not be checked; likewise.
    """
    return finish(folding_file(source, target, options, in_place=in_place, progress=progress, limits=limits))


def folding_file(
    source: Path,
    target: Path | None,
    options: FoldOptions,
    *,
    in_place: bool = False,
    progress: Progress = lambda _: None,
    limits: Limits | None = None,
) -> Watching[Report]:
    """`fold_file`, as work that `bnfold.guard.finish_all` does beside others: results go to their places in turn.

    Args and Raises: as `fold_file`.
    """
    destination = None if target is None else destination_of(target)
    with staging_folder(destination) as folder:

        def work(step: Progress) -> Staged:
            return _stage(source, destination, folder, options, step, in_place=in_place)

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
    watch, row = Stopwatch(), format_of_file(path)
    if target is None:
        source = row.format().open(path, options, None)
        watch.lap("load")
        return Staged(plan(source, str(path), watch, progress, read=(path, *source.data_files)))
    check_ending(path, target.given, ONNX if options.to == "onnx" else row, row)
    source = row.format().open(path, options, folder)
    watch.lap("load")
    return stage(source, path, target, folder, watch, progress, in_place=in_place)


def _serialised(model: "ModelSource | onnx.ModelProto") -> "ModelSource":
    if not isinstance(model, onnx.ModelProto):
        return model
    require_serialisable(model)
    data: bytes = model.SerializeToString()
    return data


@contextmanager
def _naming(path: Path) -> Iterator[None]:
    """Let errors about a file name it."""
    try:
        yield
    except (ModelFormatError, UnsupportedModelError) as error:
        raise type(error)(f"{path} {error}") from error


def _format_for(path: Path, options: FoldOptions) -> Format:
    """The format of a file, which was opened once where it can do no harm, if opening it runs code."""
    row = format_of_file(path)
    try:
        form = row.format()
    except UsageError as error:
        raise UsageError(f"{path} {error}") from error
    if row.runs_code:
        rehearse(path, form, options)
    return form


def _is_onnx_ir(model: object) -> bool:
    """Whether it is a model of onnx_ir; if so, that is imported already."""
    kind = getattr(sys.modules.get("onnx_ir"), "Model", None)
    return isinstance(kind, type) and isinstance(model, kind)
