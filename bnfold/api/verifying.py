"""verify: whether two models compute the same."""

import os
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import onnx

from bnfold.api.formats.large_onnx import require_serialisable
from bnfold.api.formats.protocol import Progress, Source, untold
from bnfold.api.formats.registry import ONNX, FormatRow, format_of_object
from bnfold.api.opening import is_path, loaded, naming, row_of
from bnfold.api.options import FoldOptions, parse_verify_options
from bnfold.api.reproducing import ONLY_ONNX, reproduced, reproduction_kept
from bnfold.api.typed import VerifyKeywords, with_keywords_of
from bnfold.errors import InvalidOriginalError, ModelFormatError, UncheckedError, UsageError
from bnfold.guard import Limits, Watching, can_guard, watch
from bnfold.keywords import keyword
from bnfold.verification import Verification, VerifyOptions
from bnfold.writing.staging import staging_folder

if TYPE_CHECKING:
    import torch
    from torch.export import ExportedProgram
    from typing_extensions import Unpack

    from bnfold.verifier import ModelSource

    Comparable = str | os.PathLike[str] | bytes | onnx.ModelProto | torch.jit.ScriptModule | ExportedProgram


@with_keywords_of(VerifyOptions)
def verify(a: "Comparable", b: "Comparable", **options: "Unpack[VerifyKeywords]") -> Verification:
    """Whether two models compute the same.

    Args:
        a: the reference: a path, serialised bytes of ONNX, an onnx.ModelProto, a torch.jit.ScriptModule or a
            torch.export.ExportedProgram. Where neither the caller nor a script says the shapes of its inputs, they are
            found as for `fold`, and a warning names them.
        b: the model to judge.
        **options: the fields of `VerifyOptions`.

    Raises:
        UsageError: an option is unknown or out of range; a model of ONNX cannot be compared with a program of PyTorch.
        ModelFormatError: a file is not there, or is a program that cannot be read.
        InvalidOriginalError: likewise of the reference, which is a ModelFormatError too, or it is no valid model.
        UncheckedError: the reference does not run, or memory ran out.

    Examples:
        >>> bnfold.verify("model.onnx", bnfold.fold("model.onnx", verify=False).model, samples=2)
        <Verification: passed on 2 samples>
        >>> bnfold.verify("model.onnx", "model.onnx")
        <Verification: passed: nothing differs>
    """
    chosen = parse_verify_options(options)
    rows = [_row_of_original(a), _row(b)]
    if ONNX not in rows:
        return _verify_programs((a, rows[0]), (b, rows[1]), chosen)
    _require_one_kind(rows)
    return _verdict(_serialised(a), _serialised(b), chosen, untold)


def verifying_files(
    a: Path, b: Path, options: FoldOptions, *, progress: Progress, limits: Limits
) -> Watching[Verification]:
    """`verify` for two files, as work in a child process with limits; see `bnfold.guard.finish`.

    Args:
        a: the reference.
        b: the model to judge.
        options: how to check, and how to read programs of PyTorch.
        progress: told what is being done.
        limits: of the child process; it works in this one where the system cannot fork.

    Raises:
        UsageError, ModelFormatError, InvalidOriginalError, UncheckedError: as `verify`.
        UnsupportedModelError: a file cannot be read, or crashed the process that read it.
    """
    with staging_folder(None) as folder, reproduction_kept(options, folder):

        def work(step: Progress) -> Verification:
            verdict = _compared(a, b, options, step)
            return _with_reproduction(verdict, a, b, options, folder, step) if verdict.status == "failed" else verdict

        if not can_guard():
            return work(progress)
        return (yield from watch(work, progress, _larger(a, b), folder, limits))


def _with_reproduction(
    verdict: Verification, a: Path, b: Path, options: FoldOptions, folder: Path, step: Progress
) -> Verification:
    """Put what differs into the folder, where somebody asked for it, and say so."""
    if options.save_repro is None:
        return verdict

    def write(place: Path) -> str:
        if row_of(a) is not ONNX:
            raise UncheckedError(ONLY_ONNX)
        from bnfold.verifier.reproduction import write_reproduction

        return write_reproduction(a, b, verdict, options.feeding, place)

    step("saving what differs")
    return replace(verdict, warnings=(*verdict.warnings, reproduced(options, folder, write)))


def _larger(a: Path, b: Path) -> Path:
    """The file by which the limits are made; one that is not there is told by whoever opens it."""
    return max((path for path in (a, b) if path.is_file()), key=lambda path: path.stat().st_size, default=a)


def _compared(a: Path, b: Path, options: FoldOptions, step: Progress) -> Verification:
    """Compare two files in this process, which is guarded already: what runs code on loading is not rehearsed."""
    how, rows = options.feeding, [row_of(a), row_of(b)]
    if ONNX in rows:
        _require_one_kind(rows)
        return _verdict(str(a), str(b), how, step)
    from bnfold.api.formats.programs import verify_programs

    with ExitStack() as stack:
        reference = stack.enter_context(_opened(a, rows[0], options))
        other = stack.enter_context(_opened(b, rows[1], reference.options))
        step("comparing")
        return verify_programs(reference, other)


@contextmanager
def _opened(path: Path, row: FormatRow, options: FoldOptions) -> Iterator[Source]:
    with ExitStack() as stack:
        with naming(path):
            source = stack.enter_context(row.format().load(path, options))
        yield source


def _require_one_kind(rows: Sequence[FormatRow]) -> None:
    if any(row is not ONNX for row in rows):
        way_out = f"export both to ONNX, with {keyword('to', 'onnx')}"
        raise UsageError(f"cannot compare {rows[0].called} with {rows[1].called}: {way_out}")


def _verdict(a: "ModelSource", b: "ModelSource", how: VerifyOptions, step: Progress) -> Verification:
    from bnfold.verifier import check, verdict_if_identical

    return verdict_if_identical(a, b, how) or check(a, b, how, step)


def _row_of_original(model: Any) -> FormatRow:  # noqa: ANN401 - as verify
    try:
        return _row(model)
    except ModelFormatError as error:
        raise InvalidOriginalError(str(error)) from error


def _row(model: Any) -> FormatRow:  # noqa: ANN401 - as verify
    if is_path(model):
        return row_of(Path(model))
    return ONNX if isinstance(model, (bytes, onnx.ModelProto)) else format_of_object(model)


def _verify_programs(a: tuple[Any, FormatRow], b: tuple[Any, FormatRow], how: VerifyOptions) -> Verification:
    from bnfold.api.formats.programs import verify_programs

    with ExitStack() as stack:
        reference = stack.enter_context(_held(*a, FoldOptions(verify=how)))
        return verify_programs(reference, stack.enter_context(_held(*b, reference.options)))


@contextmanager
def _held(model: Any, row: FormatRow, options: FoldOptions) -> Iterator[Source]:  # noqa: ANN401 - as verify
    if not is_path(model):
        yield row.format().hold(model, options)
        return
    with loaded(Path(model), options) as source:
        yield source


def _serialised(model: Any) -> "ModelSource":  # noqa: ANN401 - as verify
    if not isinstance(model, onnx.ModelProto):
        given: ModelSource = model
        return given
    require_serialisable(model)
    data: bytes = model.SerializeToString()
    return data
