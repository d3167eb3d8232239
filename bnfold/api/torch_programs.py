"""Folding programs of PyTorch, files and programs in memory. Importing this module imports torch."""

import shutil
from collections.abc import Collection, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import onnx
import torch
from torch.export import ExportedProgram

from bnfold.api.attempts import fold_as_asked
from bnfold.api.feeding import with_shapes
from bnfold.api.large_models import LARGEST_MESSAGE
from bnfold.api.onnx_validity import require_runnable
from bnfold.api.options import FoldOptions, FoldResult
from bnfold.api.packages import import_packages
from bnfold.api.places import Staged, check_target, size_of
from bnfold.api.program import FoldedProgram
from bnfold.api.stopwatch import Stopwatch
from bnfold.api.torch_export import fold_exported
from bnfold.api.torchscript import fold_script
from bnfold.api.verdict import raise_if_failed, verdict_of
from bnfold.errors import ModelFormatError, UnsupportedModelError, UsageError
from bnfold.frontends.kind import Kind
from bnfold.frontends.onnx_export import export_as_written, export_to_onnx
from bnfold.frontends.torch_archive.traced_inputs import Recorded
from bnfold.frontends.torch_export.file import open_program, save_program_like
from bnfold.frontends.torchscript.file import inputs_of_trace, open_script, save_script_like
from bnfold.guard import Limits, can_guard, run_guarded
from bnfold.report.model import Change, Report
from bnfold.reverting import Attempt
from bnfold.verifier import Progress, Verification, check
from bnfold.verifier.programs.check import check_torch
from bnfold.verifier.programs.inputs import example_arguments, inputs_named
from bnfold.verifier.programs.onnx import with_own_names
from bnfold.verifier.result import SKIPPED
from bnfold.writing.destination import Destination
from bnfold.writing.staging import staging_folder


def fold_program(
    model: Any,  # noqa: ANN401 - one of two classes
    name: str,
    options: FoldOptions,
    recorded: Sequence[Recorded] = (),
) -> FoldResult:
    """Fold a program in memory; it is left unchanged.

    Args:
        model: a torch.jit.ScriptModule or a torch.export.ExportedProgram.
        name: for the report.
        options: what to fold and how to check it.
        recorded: what its file says of the inputs that it was traced with.

    Raises:
        UsageError: it is something else, or nothing says what to feed it for the check.
        VerificationError: the result does not equal the original; the error carries the report.
    """
    watch = Stopwatch()
    fed = with_shapes(model, options, recorded)
    options = fed.options

    def attempt(without: Collection[int]) -> Attempt[FoldedProgram]:
        folded = _fold(model, options, without, watch, learns=fed.teaches)
        verdict = _judge(folded.reference, folded.program, options)
        watch.lap("verify")
        return Attempt(folded.outcome, verdict, folded)

    found = fold_as_asked(attempt, options)
    folded = replace(found.result, outcome=found.outcome)
    bytes_ = Change(_bytes_of(model), _bytes_of(folded.program))
    report = replace(_report(name, None, model, folded, bytes_, found.verdict, watch), warnings=fed.warnings)
    raise_if_failed(report)
    return FoldResult(_as_onnx(folded.program, options) if options.to == "onnx" else folded.program, report)


def stage_program(
    source: Path,
    kind: Kind,
    target: Destination | None,
    folder: Path,
    options: FoldOptions,
    progress: Progress,
    *,
    in_place: bool = False,
) -> Staged:
    """Fold a file and leave the checked result in a staging folder; see `bnfold.api.onnx_models.stage_onnx`."""
    watch = Stopwatch()
    if target is not None:
        check_target(source, [], target, in_place=in_place)
    import_packages(options.imports)
    model = _open(source, kind, options)
    size_before = size_of([source])
    watch.lap("load")
    fed = with_shapes(model, options, recorded_inputs(source, kind))
    options = fed.options
    if target is None:
        progress("folding")
        folded = _fold(model, options, (), watch, learns=fed.teaches)
        unchanged = Change(size_before, size_before)
        report = _report(str(source), None, model, folded, unchanged, SKIPPED, watch)
        return Staged(replace(report, warnings=fed.warnings))
    staged = folder / target.path.name

    def attempt(without: Collection[int]) -> Attempt[FoldedProgram]:
        progress("folding")
        folded = _fold(model, options, without, watch, learns=fed.teaches)
        unchanged = _is_unchanged(folded, options)
        if unchanged:
            shutil.copyfile(source, staged)
        else:
            _write(folded, staged, options, source)
        watch.lap("save")
        progress("comparing")
        verdict = _of_unchanged(model, options) if unchanged else _judge_written(staged, kind, folded, options)
        watch.lap("verify")
        return Attempt(folded.outcome, verdict, folded)

    found = fold_as_asked(attempt, options)
    folded = replace(found.result, outcome=found.outcome)
    bytes_ = Change(size_before, size_of([staged]))
    report = _report(str(source), target.given, model, folded, bytes_, found.verdict, watch)
    report = replace(report, warnings=fed.warnings)
    raise_if_failed(report)
    return Staged(report, (staged,))


def _is_unchanged(folded: FoldedProgram, options: FoldOptions) -> bool:
    """Whether the file can stay as it is, byte for byte."""
    return not folded.outcome.changes and not folded.read_as_inference and not options.to


def _of_unchanged(model: Any, options: FoldOptions) -> Verification:  # noqa: ANN401 - one of two classes
    """There is nothing to prove; but that the options fit the program is looked at as ever."""
    if options.verify is None:
        return SKIPPED
    if inputs_named(options.verify):
        example_arguments(model, options.verify)
    return Verification(status="passed", samples=0, seed=options.verify.seed, identical=True)


def _write(folded: FoldedProgram, path: Path, options: FoldOptions, source: Path) -> None:
    if options.to == "onnx":
        path.write_bytes(_as_onnx(folded.program, options).SerializeToString(deterministic=True))
    else:
        _save(folded.program, path, source, options)


def _judge_written(path: Path, kind: Kind, folded: FoldedProgram, options: FoldOptions) -> Verification:
    if options.to == "onnx":
        return _judge_onnx(path, folded, options)
    return _judge(folded.reference, _open(path, kind, options), options)


def load_program(path: Path, kind: Kind, options: FoldOptions) -> Any:  # noqa: ANN401 - one of two classes
    """The program in a file.

    Raises:
        ModelFormatError, UnsupportedModelError: it cannot be read or folded; the message names the file.
        UsageError: a package of the options cannot be imported.
    """
    import_packages(options.imports)
    try:
        if kind == "torchscript" and can_guard():
            _rehearse(path, kind, options)
        return _open(path, kind, options)
    except (ModelFormatError, UnsupportedModelError) as error:
        raise type(error)(f"{path} {error}") from error


def recorded_inputs(path: Path, kind: Kind) -> list[Recorded]:
    """The inputs that the program in a file says it was traced with."""
    return inputs_of_trace(path) if kind == "torchscript" else []


def _rehearse(path: Path, kind: Kind, options: FoldOptions) -> None:
    """Open it in a child process first: code of TorchScript runs on loading, and its reader can crash on it."""

    def rehearsal(_: Progress) -> None:
        _open(path, kind, options)

    with staging_folder(None) as folder:
        run_guarded(rehearsal, lambda _: None, path, folder, Limits())


def _open(path: Path, kind: Kind, options: FoldOptions) -> Any:  # noqa: ANN401 - one of two classes
    if kind == "torch_export":
        return open_program(path, options.imports)
    return open_script(path, options.imports)


def _save(program: Any, path: Path, source: Path, options: FoldOptions) -> None:  # noqa: ANN401
    """Write a program with all that the source holds beside it."""
    if isinstance(program, ExportedProgram):
        save_program_like(source, program, path, options.imports)
    else:
        save_script_like(source, program, path, options.imports)


def _fold(
    model: Any,  # noqa: ANN401
    options: FoldOptions,
    without: Collection[int],
    watch: Stopwatch,
    *,
    learns: bool,
) -> FoldedProgram:
    if isinstance(model, ExportedProgram):
        folded = fold_exported(model, options, without)
    elif isinstance(model, torch.jit.ScriptModule):
        folded = fold_script(model, options, without, learns=learns)
    else:
        raise UsageError(
            f"cannot fold a {type(model).__name__}: export it first, with torch.export.export(model.eval(), inputs) "
            "or torch.jit.script(model.eval())"
        )
    watch.lap("plan")
    return folded


def _judge(reference: Any, candidate: Any, options: FoldOptions) -> Verification:  # noqa: ANN401 - of two classes
    how = options.verify
    if how is None:
        return SKIPPED
    return verdict_of(lambda: check_torch(reference, candidate, how), how.seed)


def _judge_onnx(written: Path, folded: FoldedProgram, options: FoldOptions) -> Verification:
    """The programs under torch, and then the file that was written against an export of the original."""
    verdict = _judge(folded.reference, folded.program, options)
    how = options.verify
    if how is None or not verdict.passed:
        return verdict
    reference = with_own_names(export_as_written(folded.reference, _examples(folded.reference, options)))
    final = verdict_of(lambda: check(reference.SerializeToString(), written, how), how.seed)
    return replace(final, warnings=(*verdict.warnings, *final.warnings))


def _as_onnx(program: Any, options: FoldOptions) -> onnx.ModelProto:  # noqa: ANN401 - one of two classes
    size = _bytes_of(program)
    if size > LARGEST_MESSAGE:
        raise UnsupportedModelError(
            f"holds {size / 2**30:.1f} GiB of weights, and --to onnx writes them into one file of at most 2 GiB: leave "
            "it out to write a program"
        )
    return require_runnable(export_to_onnx(program, _examples(program, options)))


def _examples(program: Any, options: FoldOptions) -> list[Any]:  # noqa: ANN401 - one of two classes
    return [] if isinstance(program, ExportedProgram) else example_arguments(program, options.feeding)


def _report(
    source: str,
    target: Path | None,
    model: Any,  # noqa: ANN401 - one of two classes
    folded: FoldedProgram,
    bytes_: Change,
    verdict: Verification,
    watch: Stopwatch,
) -> Report:
    return Report(
        input=source,
        output=None if target is None else str(target),
        format="torch_export" if isinstance(model, ExportedProgram) else "torchscript",
        outcome=folded.outcome,
        nodes=folded.nodes,
        parameters=Change(_numbers_in(model), _numbers_in(folded.program)),
        bytes=bytes_,
        verification=verdict,
        seconds=watch.seconds,
        read_as_inference=folded.read_as_inference,
    )


def _numbers_in(program: Any) -> int:  # noqa: ANN401 - one of two classes
    return sum(tensor.numel() for tensor in _stored(program))


def _bytes_of(program: Any) -> int:  # noqa: ANN401 - one of two classes
    """Of a program in memory: the bytes of its tensors."""
    return sum(tensor.numel() * tensor.element_size() for tensor in _stored(program))


def _stored(program: Any) -> Iterator[torch.Tensor]:  # noqa: ANN401 - one of two classes
    """Parameters, buffers and constants, each place in memory once."""
    if isinstance(program, ExportedProgram):
        held = [*program.state_dict.values(), *program.constants.values()]
    else:
        held = [*program.parameters(), *program.buffers()]
    seen = set()
    for tensor in held:
        if isinstance(tensor, torch.Tensor):
            key = (tensor.device, tensor.data_ptr(), tuple(tensor.shape)) if tensor.numel() else id(tensor)
            if key not in seen:
                seen.add(key)
                yield tensor
