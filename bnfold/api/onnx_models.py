"""Folding ONNX: files and models in memory."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import onnx

from bnfold.api.attempts import fold_as_asked
from bnfold.api.options import FoldOptions, FoldResult
from bnfold.api.places import Staged, check_target, size_of
from bnfold.api.stopwatch import Stopwatch
from bnfold.api.verdict import raise_if_failed, verdict_of
from bnfold.engine import fold_graph
from bnfold.errors import ModelFormatError, UnsupportedModelError
from bnfold.frontends.onnx.file import (
    OpenModel,
    check_external_data,
    check_model,
    copy_if_unchanged,
    embed_external_data,
    in_order,
    open_model,
    parse_model,
    stage,
)
from bnfold.frontends.onnx.inference import assume_inference
from bnfold.frontends.onnx.overridable import count_overridable, freeze_initializers
from bnfold.frontends.onnx.port import OnnxPort
from bnfold.frontends.onnx.size import count_nodes, count_parameters
from bnfold.frontends.onnx.storage import TensorStore
from bnfold.intake.text import readable_text
from bnfold.outcome import Outcome
from bnfold.report.model import Change, Report
from bnfold.reverting import Attempt
from bnfold.verifier import ModelSource, Progress, Verification, check, verdict_if_identical
from bnfold.verifier.result import SKIPPED
from bnfold.writing.destination import Destination


@readable_text()
def stage_onnx(
    source: Path,
    target: Destination | None,
    folder: Path,
    options: FoldOptions,
    progress: Progress,
    *,
    in_place: bool = False,
) -> Staged:
    """Fold a file and leave the checked result in a staging folder.

    Args:
        source: the model.
        target: where the result will go; None plans only, and neither checks nor writes.
        folder: the staging folder.
        options: what to fold and how to check it.
        progress: told what is being done.
        in_place: whether target may be source.

    Raises:
        ModelFormatError, UnsupportedModelError: the source cannot be read or folded.
        UsageError: the target cannot be written, or would overwrite a file of the source.
        VerificationError: the result does not equal the original. The error carries the report.
        UncheckedError: equality could not be checked; likewise.
    """
    watch = Stopwatch()
    opened = open_model(source)
    if target is not None:
        check_target(source, opened.data_files, target, in_place=in_place)
    size_before = size_of([source, *opened.data_files])
    before = _measure(opened.model)
    changed = options.assume_inference and assume_inference(opened.model)
    watch.lap("load")
    if target is None:
        progress("folding")
        outcome, _ = _run_engine(opened, options, (), watch)
        unchanged = Change(size_before, size_before)
        report = _report(source, None, outcome, before, opened.model, unchanged, SKIPPED, watch)
        return Staged(replace(report, read_as_inference=changed, warnings=opened.warnings))
    reference = _stage_reference(opened, folder, target.path.name) if changed else source
    fresh = [opened]

    def attempt(without: Collection[int]) -> Attempt[tuple[onnx.ModelProto, list[Path]]]:
        model = fresh.pop() if fresh else open_model(Path(reference))
        progress("folding")
        outcome, moved_inside = _run_engine(model, options, without, watch)
        staged = _stage(model, moved_inside, reference, outcome, folder, target.path)
        watch.lap("save")
        verdict = _judged(reference, staged[-1], options, progress)
        watch.lap("verify")
        return Attempt(outcome, verdict, (model.model, staged))

    found = fold_as_asked(attempt, options)
    model, staged = found.result
    bytes_ = Change(size_before, size_of(staged))
    report = _report(source, target.given, found.outcome, before, model, bytes_, found.verdict, watch)
    report = replace(report, read_as_inference=changed, warnings=opened.warnings)
    raise_if_failed(report)
    return Staged(report, tuple(staged))


@readable_text()
def load_proto(path: Path) -> onnx.ModelProto:
    """An ONNX file with all data inside.

    Raises:
        ModelFormatError, UnsupportedModelError: it cannot be read or folded.
    """
    try:
        opened = open_model(path)
    except (ModelFormatError, UnsupportedModelError) as error:
        raise type(error)(f"{path} {error}") from error
    embed_external_data(opened)
    return opened.model


@readable_text()
def fold_proto(model: onnx.ModelProto, name: str, options: FoldOptions, warnings: tuple[str, ...] = ()) -> FoldResult:
    """Fold a model in place.

    Args:
        model: the model; it is changed.
        name: for the report.
        options: what to fold and how to check it.
        warnings: of whoever read it.

    Raises:
        ModelFormatError, UnsupportedModelError, VerificationError: as `stage_onnx`.
    """
    watch = Stopwatch()
    check_model(model)
    opened = in_order(model, TensorStore(None))
    check_external_data(opened)
    before = _measure(model)
    changed = options.assume_inference and assume_inference(model)
    reference = model.SerializeToString(deterministic=True)
    watch.lap("load")
    fresh = [model]

    def attempt(without: Collection[int]) -> Attempt[tuple[onnx.ModelProto, int]]:
        copy = fresh.pop() if fresh else parse_model(reference)
        outcome, _ = _run_engine(OpenModel(copy, TensorStore(None)), options, without, watch)
        folded = copy.SerializeToString(deterministic=True)
        verdict = _judged(reference, folded, options, lambda _: None)
        watch.lap("verify")
        return Attempt(outcome, verdict, (copy, len(folded)))

    found = fold_as_asked(attempt, options)
    folded, size = found.result
    report = _report(name, None, found.outcome, before, folded, Change(len(reference), size), found.verdict, watch)
    report = replace(report, read_as_inference=changed, warnings=(*warnings, *opened.warnings))
    raise_if_failed(report)
    return FoldResult(folded, report)


def _stage(
    opened: OpenModel,
    moved_inside: Sequence[onnx.TensorProto],
    source: Path,
    outcome: Outcome,
    folder: Path,
    target: Path,
) -> list[Path]:
    """Write a result; where nothing was changed, as it was, byte by byte, however its writer spelled it."""
    if not outcome.changes and not opened.data_files:
        unchanged = copy_if_unchanged(opened.model, source, folder / target.name)
        if unchanged:
            return [unchanged]
    return stage(opened, moved_inside, folder, target)


def _judged(reference: ModelSource, folded: ModelSource, options: FoldOptions, progress: Progress) -> Verification:
    how = options.verify
    if how is None:
        return SKIPPED
    identical = verdict_if_identical(reference, folded, how)
    return identical or verdict_of(lambda: check(reference, folded, how, progress), how.seed)


def _run_engine(
    opened: OpenModel, options: FoldOptions, without: Collection[int], watch: "Stopwatch"
) -> tuple[Outcome, Sequence[onnx.TensorProto]]:
    port = OnnxPort(
        opened.model,
        opened.store,
        exclude=options.exclude,
        without=without,
        keep_overridable=options.keep_overridable,
    )
    outcome = replace(
        fold_graph(port, affine_nodes=options.affine, merge_branches=options.merge_branches), unmatched=port.unmatched
    )
    watch.lap("plan")
    moved_inside = port.finish()
    if options.freeze_initializers:
        freeze_initializers(opened.model)
    watch.lap("apply")
    return outcome, moved_inside


@dataclass(frozen=True)
class _Measures:
    nodes: int
    parameters: int


def _measure(model: onnx.ModelProto) -> _Measures:
    return _Measures(count_nodes(model), count_parameters(model))


def _report(
    source: Path | str,
    target: Path | None,
    outcome: Outcome,
    before: _Measures,
    model: onnx.ModelProto,
    bytes_: Change,
    verdict: Verification,
    watch: "Stopwatch",
) -> Report:
    after = _measure(model)
    return Report(
        input=str(source),
        output=None if target is None else str(target),
        format="onnx",
        outcome=outcome,
        nodes=Change(before.nodes, after.nodes),
        parameters=Change(before.parameters, after.parameters),
        bytes=bytes_,
        verification=verdict,
        seconds=watch.seconds,
        overridable_initializers=count_overridable(model),
    )


def _stage_reference(opened: OpenModel, folder: Path, taken: str) -> Path:
    """The model as it is now, before the fold, as a file to compare with, not called as the result is."""
    copy = onnx.ModelProto()
    copy.CopyFrom(opened.model)
    return stage(OpenModel(copy, opened.store), [], folder, folder / f"{taken}.reference")[-1]
