"""The Python API: fold, explain and verify, for files and for models in memory, of ONNX and of PyTorch."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import onnx

from bnfold.api.endings import check_ending
from bnfold.api.large_models import explain_file, fold_large_file, is_large, require_serialisable
from bnfold.api.onnx_models import fold_proto, stage_onnx
from bnfold.api.options import IN_MEMORY, FoldOptions, FoldResult, parse_options
from bnfold.api.places import Staged, publish
from bnfold.errors import ModelFormatError, UnsupportedModelError, UsageError
from bnfold.frontends.kind import Kind, kind_of
from bnfold.frontends.onnx.file import embed_external_data, open_model
from bnfold.guard import Limits, can_guard, run_guarded
from bnfold.report.model import Report
from bnfold.verifier import ModelSource, Progress, Verification, VerifyOptions, check, verdict_if_identical
from bnfold.writing.destination import Destination, destination_of
from bnfold.writing.staging import staging_folder

__all__ = ["FoldOptions", "FoldResult", "explain", "fold", "fold_file", "verify"]

_EXPECTED = "a path, an onnx.ModelProto, an onnx_ir.Model, a torch.jit.ScriptModule or a torch.export.ExportedProgram"


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
    chosen = parse_options(options)
    if isinstance(model, (str, os.PathLike)):
        return _fold_path(Path(model), str(model), chosen)
    if isinstance(model, onnx.ModelProto):
        require_serialisable(model)
        copy = onnx.ModelProto()
        copy.CopyFrom(model)
        return fold_proto(copy, IN_MEMORY, chosen)
    if _comes_from("onnx_ir", model):
        return _fold_onnx_ir(model, chosen)
    if _comes_from("torch", model):
        from bnfold.api.torch_programs import fold_program

        return fold_program(model, IN_MEMORY, chosen)
    raise UsageError(f"cannot fold a {type(model).__name__}: expected {_EXPECTED}")


def explain(model: Any, **options: Any) -> Report:  # noqa: ANN401 - as fold
    """What `fold` would do, without checking it: every fold, and every node that stays and why.

    Args and Raises: as `fold`.
    """
    if isinstance(model, (str, os.PathLike)) and _kind_of(Path(model)) == "onnx":
        with _naming(Path(model)):
            return replace(explain_file(Path(model), parse_options(options)), input=str(model))
    return fold(model, **{**options, "verify": None}).report


def verify(a: ModelSource | onnx.ModelProto, b: ModelSource | onnx.ModelProto, **options: Any) -> Verification:  # noqa: ANN401
    """Whether two ONNX models compute the same.

    Args:
        a: the reference: a path, serialised bytes or a ModelProto.
        b: the model to judge.
        **options: the fields of `VerifyOptions`.

    Raises:
        UsageError: an option is unknown or out of range.
        InvalidOriginalError: the reference is no valid model.
        UncheckedError: the reference does not run, or memory ran out.
    """
    ours, theirs = map(_serialised, (a, b))
    try:
        chosen = VerifyOptions(**options)
    except TypeError as error:
        raise UsageError(f"unknown option: {error}") from error
    return verdict_if_identical(ours, theirs, chosen) or check(ours, theirs, chosen)


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
    destination = None if target is None else destination_of(target)
    with staging_folder(destination) as folder:

        def work(step: Progress) -> Staged:
            return _stage(source, destination, folder, options, step, in_place=in_place)

        if limits is not None and can_guard():
            staged = run_guarded(work, progress, source, folder, limits)
        else:
            staged = work(progress)
        return staged.report if destination is None else publish(staged, folder, destination)


def _stage(
    source: Path, target: Destination | None, folder: Path, options: FoldOptions, progress: Progress, *, in_place: bool
) -> Staged:
    kind = kind_of(source)
    if target is not None:
        check_ending(source, target.given, options.to or kind, kind)
    if kind == "onnx":
        return stage_onnx(source, target, folder, options, progress, in_place=in_place)
    _require_torch("")
    from bnfold.api.torch_programs import stage_program

    return stage_program(source, kind, target, folder, options, progress, in_place=in_place)


def _serialised(model: ModelSource | onnx.ModelProto) -> ModelSource:
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


def _kind_of(path: Path) -> Kind:
    with _naming(path):
        return kind_of(path)


def _fold_path(path: Path, name: str, options: FoldOptions) -> FoldResult:
    kind = _kind_of(path)
    if kind == "onnx":
        return _fold_onnx_path(path, name, options)
    _require_torch(f"{path} ")
    from bnfold.api.torch_programs import fold_program, load_program, recorded_inputs

    return fold_program(load_program(path, kind, options), name, options, recorded_inputs(path, kind))


def _fold_onnx_path(path: Path, name: str, options: FoldOptions) -> FoldResult:
    with _naming(path):
        opened = open_model(path)
        if is_large(path, opened):
            result = fold_large_file(path, options)
            return replace(result, report=replace(result.report, input=name))
        embed_external_data(opened)
    return fold_proto(opened.model, name, options, opened.warnings)


def _fold_onnx_ir(model: Any, options: FoldOptions) -> FoldResult:  # noqa: ANN401 - onnx_ir may be absent
    import onnx_ir

    if not isinstance(model, onnx_ir.Model):
        raise UsageError(f"cannot fold an onnx_ir.{type(model).__name__}: expected an onnx_ir.Model")
    # A clone shares its tensors with the model; loading replaces those of the clone alone.
    loaded = onnx_ir.external_data.load_to_model(model.clone())
    result = fold_proto(onnx_ir.to_proto(loaded), IN_MEMORY, options)
    return replace(result, model=onnx_ir.from_proto(result.model))


def _comes_from(package: str, model: object) -> bool:
    """Whether a class of this package is among those of an object; if so, the package is imported already."""
    return package in sys.modules and any(base.__module__.split(".")[0] == package for base in type(model).__mro__)


def _require_torch(subject: str) -> None:
    try:
        import torch  # noqa: F401
    except ImportError as error:
        raise UsageError(
            f"{subject}is a program of PyTorch, which is not installed: pip install 'torch>=2.13', or "
            "pip install '.[torch]' in a checkout of bnfold"
        ) from error
