"""The Python API: fold, explain and verify, for files and for models in memory."""

import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

import onnx

from bnfold.engine import fold_graph
from bnfold.errors import ModelFormatError, UnsupportedModelError, UsageError, VerificationError
from bnfold.frontends.onnx.file import (
    OpenModel,
    check_external_data,
    check_versions,
    embed_external_data,
    open_model,
    parse_model,
    publish,
    stage,
)
from bnfold.frontends.onnx.inference import assume_inference
from bnfold.frontends.onnx.port import OnnxPort
from bnfold.frontends.onnx.size import count_nodes, count_parameters
from bnfold.frontends.onnx.storage import TensorStore
from bnfold.judge import ModelSource, Verification, VerifyOptions, check
from bnfold.judge.result import SKIPPED
from bnfold.plan import Outcome
from bnfold.report.model import Change, Report, Seconds
from bnfold.reverting import Attempt, fold_what_holds

Progress = Callable[[str], None]
T = TypeVar("T")

_IN_MEMORY = "<memory>"


@dataclass(frozen=True)
class FoldOptions:
    """What to fold and how to check it.

    Attributes:
        affine: fold Mul, Add, Sub and Div by constants as well, not BatchNorms alone.
        exclude: glob patterns of node names to leave alone.
        assume_inference: treat BatchNorms with training_mode=1 as inference ones.
        keep_overridable: leave parameters alone that are also graph inputs.
        verify: how to check the result; None skips the check.
        on_mismatch: what to do if the check fails: "fail" gives nothing, "revert" drops the folds that are to blame and
            keeps the rest.
    """

    affine: bool = True
    exclude: tuple[str, ...] = ()
    assume_inference: bool = False
    keep_overridable: bool = False
    verify: VerifyOptions | None = field(default_factory=VerifyOptions)
    on_mismatch: str = "fail"

    def __post_init__(self) -> None:
        if self.on_mismatch not in ("fail", "revert"):
            raise UsageError(f"on_mismatch must be 'fail' or 'revert', got {self.on_mismatch!r}")
        if isinstance(self.exclude, str):
            raise UsageError(f"exclude must be a sequence of patterns, got the string {self.exclude!r}")


@dataclass(frozen=True)
class FoldResult:
    """A folded model and what was done to it.

    Attributes:
        model: of the kind that was given: an onnx.ModelProto for a path or a ModelProto, an onnx_ir.Model for one.
        report: every fold, every node that stays and why, the verdict of the check.
    """

    model: Any
    report: Report


def fold(model: Any, **options: Any) -> FoldResult:  # noqa: ANN401 - several kinds, some of packages not installed
    """Fold every BatchNorm that can be folded.

    Args:
        model: a path, an onnx.ModelProto or an onnx_ir.Model; it is left unchanged.
        **options: the fields of `FoldOptions`.

    Returns:
        The folded model, of the same kind (a path gives a ModelProto with all data inside), and the report.

    Raises:
        UsageError: of another kind, or an unknown option.
        ModelFormatError: it cannot be read.
        UnsupportedModelError: it can be read, but not folded.
        VerificationError: the result does not equal the original; the error carries the report.
    """
    chosen = _options(options)
    if isinstance(model, (str, os.PathLike)):
        return _fold_proto(_load(Path(model)), str(model), chosen)
    if isinstance(model, onnx.ModelProto):
        copy = onnx.ModelProto()
        copy.CopyFrom(model)
        return _fold_proto(copy, _IN_MEMORY, chosen)
    if type(model).__module__.split(".")[0] == "onnx_ir":
        import onnx_ir

        if not isinstance(model, onnx_ir.Model):
            raise UsageError(f"cannot fold an onnx_ir.{type(model).__name__}: expected an onnx_ir.Model")
        # A clone shares its tensors with the model; loading replaces those of the clone alone.
        loaded = onnx_ir.external_data.load_to_model(model.clone())
        result = _fold_proto(onnx_ir.to_proto(loaded), _IN_MEMORY, chosen)
        return replace(result, model=onnx_ir.from_proto(result.model))
    raise UsageError(f"cannot fold a {type(model).__name__}: expected a path, an onnx.ModelProto or an onnx_ir.Model")


def explain(model: Any, **options: Any) -> Report:  # noqa: ANN401 - as fold
    """What `fold` would do, without checking it: every fold, and every node that stays and why.

    Args and Raises: as `fold`.
    """
    return fold(model, **{**options, "verify": None}).report


def verify(a: ModelSource | onnx.ModelProto, b: ModelSource | onnx.ModelProto, **options: Any) -> Verification:  # noqa: ANN401
    """Whether two ONNX models compute the same.

    Args:
        a: the reference: a path, serialised bytes or a ModelProto.
        b: the model to judge.
        **options: the fields of `VerifyOptions`.

    Raises:
        UsageError: an option is unknown or out of range.
        VerificationError: the reference does not run.
    """
    sources = [model.SerializeToString() if isinstance(model, onnx.ModelProto) else model for model in (a, b)]
    try:
        chosen = VerifyOptions(**options)
    except TypeError as error:
        raise UsageError(f"unknown option: {error}") from error
    return check(sources[0], sources[1], chosen)


def fold_file(
    source: Path,
    target: Path | None,
    options: FoldOptions,
    *,
    in_place: bool = False,
    progress: Progress = lambda _: None,
) -> Report:
    """Fold a file into another.

    The result is written beside its target under a temporary name, checked as written, and only then moved there.

    Args:
        source: the model.
        target: where to write; None plans only, and neither checks nor writes.
        options: what to fold and how to check it.
        in_place: whether target may be source.
        progress: told what is being done.

    Raises:
        ModelFormatError, UnsupportedModelError: the source cannot be read or folded.
        UsageError: the target cannot be written, or would overwrite a file of the source.
        VerificationError: the result does not equal the original; nothing is written. The error carries the report.
    """
    watch = _Stopwatch()
    opened = open_model(source)
    if target is not None:
        _check_target(source, opened.data_files, target, in_place=in_place)
    size_before = _size([source, *opened.data_files])
    before = _measure(opened.model)
    changed = options.assume_inference and assume_inference(opened.model)
    watch.lap("load")
    if target is None:
        outcome, _ = _run_engine(opened, options, watch)
        return _report(source, None, outcome, before, opened.model, Change(size_before, size_before), SKIPPED, watch)
    with _staging_folder(target) as folder:
        reference = _stage_reference(opened, folder) if changed else source
        fresh = [opened]

        def attempt(without: tuple[str, ...]) -> Attempt[tuple[onnx.ModelProto, list[Path]]]:
            model = fresh.pop() if fresh else open_model(Path(reference))
            progress("folding")
            outcome, moved_inside = _run_engine(model, _without(options, without), watch)
            staged = stage(model, moved_inside, folder, target.name)
            watch.lap("save")
            verdict = _judged(reference, staged[-1], options, progress)
            watch.lap("verify")
            return Attempt(outcome, verdict, (model.model, staged))

        found = _attempt(attempt, options)
        model, staged = found.result
        bytes_ = Change(size_before, _size(staged))
        report = _report(source, target, found.outcome, before, model, bytes_, found.verdict, watch)
        _raise_if_failed(report)
        publish(staged, target.parent)
    watch.lap("save")
    return replace(report, seconds=watch.seconds)


def _load(path: Path) -> onnx.ModelProto:
    try:
        opened = open_model(path)
    except (ModelFormatError, UnsupportedModelError) as error:
        raise type(error)(f"{path} {error}") from error
    embed_external_data(opened)
    return opened.model


def _fold_proto(model: onnx.ModelProto, name: str, options: FoldOptions) -> FoldResult:
    watch = _Stopwatch()
    opened = OpenModel(model, TensorStore(None))
    check_versions(model)
    check_external_data(opened)
    before = _measure(model)
    if options.assume_inference:
        assume_inference(model)
    reference = model.SerializeToString(deterministic=True)
    watch.lap("load")
    fresh = [model]

    def attempt(without: tuple[str, ...]) -> Attempt[tuple[onnx.ModelProto, int]]:
        copy = fresh.pop() if fresh else parse_model(reference)
        outcome, _ = _run_engine(OpenModel(copy, TensorStore(None)), _without(options, without), watch)
        folded = copy.SerializeToString(deterministic=True)
        verdict = _judged(reference, folded, options, lambda _: None)
        watch.lap("verify")
        return Attempt(outcome, verdict, (copy, len(folded)))

    found = _attempt(attempt, options)
    folded, size = found.result
    report = _report(name, None, found.outcome, before, folded, Change(len(reference), size), found.verdict, watch)
    _raise_if_failed(report)
    return FoldResult(folded, report)


def _attempt(attempt: Callable[[tuple[str, ...]], Attempt[T]], options: FoldOptions) -> Attempt[T]:
    """Fold as the options say: everything, or what holds."""
    return fold_what_holds(attempt) if options.on_mismatch == "revert" else attempt(())


def _without(options: FoldOptions, patterns: tuple[str, ...]) -> FoldOptions:
    return replace(options, exclude=(*options.exclude, *patterns))


def _judged(reference: ModelSource, folded: ModelSource, options: FoldOptions, progress: Progress) -> Verification:
    return SKIPPED if options.verify is None else check(reference, folded, options.verify, progress)


def _run_engine(
    opened: OpenModel, options: FoldOptions, watch: "_Stopwatch"
) -> tuple[Outcome, Sequence[onnx.TensorProto]]:
    port = OnnxPort(opened.model, opened.store, exclude=options.exclude, keep_overridable=options.keep_overridable)
    outcome = fold_graph(port, affine_nodes=options.affine)
    watch.lap("plan")
    moved_inside = port.finish()
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
    watch: "_Stopwatch",
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
    )


def _raise_if_failed(report: Report) -> None:
    verdict = report.verification
    if verdict.status != "failed":
        return
    failed = next((entry for entry in verdict.outputs if not entry.passed), None)
    why = verdict.problem or (f"output {failed.name!r}: {failed.problem}" if failed else "the check failed")
    raise VerificationError(f"the folded model does not equal the original: {why}", replace(report, output=None))


@contextmanager
def _staging_folder(target: Path) -> Iterator[Path]:
    """A folder beside the target, gone afterwards whatever happens."""
    try:
        folder = Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=target.parent))
    except OSError as error:
        raise UsageError(f"{target} cannot be written: {error.strerror or error}") from error
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _stage_reference(opened: OpenModel, folder: Path) -> Path:
    """The model as it is now, before the fold, as a file to compare with."""
    copy = onnx.ModelProto()
    copy.CopyFrom(opened.model)
    return stage(OpenModel(copy, opened.store), [], folder, "reference.onnx")[-1]


def _check_target(source: Path, data_files: Sequence[Path], target: Path, *, in_place: bool) -> None:
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


def _size(files: Sequence[Path]) -> int:
    return sum(path.stat().st_size for path in files)


def _options(given: dict[str, Any]) -> FoldOptions:
    try:
        return FoldOptions(**given)
    except TypeError as error:
        raise UsageError(f"unknown option: {error}") from error


class _Stopwatch:
    """Adds up the seconds that the stages take."""

    def __init__(self) -> None:
        self.seconds = Seconds(load=0.0, plan=0.0, apply=0.0, verify=0.0, save=0.0)
        self._last = time.perf_counter()

    def lap(self, stage_name: str) -> None:
        """Book the time since the last lap to a stage."""
        now = time.perf_counter()
        spent = getattr(self.seconds, stage_name) + now - self._last
        self.seconds = replace(self.seconds, **{stage_name: spent})
        self._last = now
