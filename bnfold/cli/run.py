"""Carries a call out: every model by itself, then the report files, then one exit code for all."""

import time
from collections.abc import Generator, Sequence
from contextlib import closing, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from bnfold.cli.annotations import annotation, are_wanted, of_kept
from bnfold.cli.earlier_results import without_own_results
from bnfold.cli.exit_codes import ExitCode, code_of, message_of, worst
from bnfold.cli.gate import Gate
from bnfold.cli.mistaken import check_is_file, check_models
from bnfold.cli.progress import Progress
from bnfold.cli.report_files import save_reports
from bnfold.cli.request import Request
from bnfold.cli.samples import verify_options
from bnfold.cli.screen import Screen
from bnfold.cli.stopping import Stopped, stop_of
from bnfold.cli.targets import Job, check_reports, existing, output_folder, plan_jobs
from bnfold.errors import UsageError, VerificationError
from bnfold.processors import shared_among
from bnfold.report.wording import one_line

if TYPE_CHECKING:
    from bnfold.api import FoldOptions
    from bnfold.guard import Watching
    from bnfold.report.model import Failure
    from bnfold.report.readable import Report


_ZIP_MAGIC = b"PK\x03\x04"


@dataclass(frozen=True)
class _Result:
    code: ExitCode
    report: "Report | None" = None
    failure: "Failure | None" = None
    error: Exception | None = None
    refusal: str = ""


def run(request: Request, screen: Screen) -> ExitCode:
    """Fold all models of a call; one that fails does not stop the others.

    Raises:
        UsageError: the call contradicts itself or the file system; nothing was done.
        Stopped: a signal ended it. The report files say which models are done.
    """
    jobs = _jobs(request, screen)
    check_reports(request.reports, jobs)
    results: list[_Result] = []
    began = time.monotonic()
    try:
        options = _options(request)
        _import_for_all(jobs, compares=request.check is not None and not request.dry_run)
        folder = None if request.dry_run else output_folder([job.source for job in jobs], request.output)
        with existing(folder), closing(_fold_all(jobs, options, request, screen)) as folded:
            for job, result in zip(jobs, folded, strict=True):
                results.append(result)
                _tell(job.source, result, screen)
                if are_wanted(request.annotate):
                    _annotate(job.source, result, screen)
    except (UsageError, Stopped, KeyboardInterrupt) as error:
        if request.reports:
            rest = [_without_result(job.source, error) for job in jobs[len(results) :]]
            _save_reports(request, [*results, *rest], screen)
        raise
    if len(jobs) > 1:
        screen.show_totals(*_told(results), time.monotonic() - began)
    _warn_of_unmatched(results, request, screen)
    return worst([*(result.code for result in results), *_save_reports(request, results, screen)])


def _import_for_all(jobs: Sequence[Job], *, compares: bool) -> None:
    """Every model is folded in a process of its own; what takes long to import is imported once for all."""
    from bnfold.guard import import_unused

    programs = sum(map(_is_zip, (job.source for job in jobs)))
    if programs > 1:
        import_unused("torch")
    if compares and len(jobs) - programs > 1:
        for package in ("onnxruntime", "bnfold.api.formats.onnx", "bnfold.verifier"):
            import_unused(package)


def _is_zip(path: Path) -> bool:
    """Whether a file may hold a program of PyTorch; what cannot be read says so later."""
    try:
        with path.open("rb") if path.is_file() else nullcontext() as file:
            return file is not None and file.read(4) == _ZIP_MAGIC
    except OSError:
        return False


def _jobs(request: Request, screen: Screen) -> list[Job]:
    check_models(request.models)
    suffix = f".{request.to}" if request.to else ""
    models, skipped = without_own_results(request.models, suffix)
    for model, source in skipped.items():
        screen.warn(f"skipped: it is called like the result of {source}, which is folded in this call", model)
    if request.dry_run:
        return [Job(model, None) for model in models]
    return plan_jobs(models, request.output, in_place=request.in_place, suffix=suffix)


def _options(request: Request) -> "FoldOptions":
    from bnfold.api import FoldOptions

    return FoldOptions(
        affine=request.affine,
        merge_branches=request.merge_branches,
        across=request.across,
        lower=request.lower or "",
        exclude=request.exclude,
        imports=request.imports,
        assume_inference=request.assume_inference,
        keep_overridable=request.keep_overridable,
        freeze_initializers=request.freeze_initializers,
        to="onnx" if request.to == "onnx" else "",
        verify=None if request.check is None else verify_options(request.check),
        on_mismatch=request.on_mismatch,
        bench=request.bench,
        save_repro=request.save_repro,
        shapes=request.shapes,
        digests=bool(request.reports),
    )


def _fold_all(
    jobs: Sequence[Job], options: "FoldOptions", request: Request, screen: Screen
) -> Generator[_Result, None, None]:
    """Fold the models, some at a time, and answer for each in the order of the call."""
    from bnfold.guard import finish_all

    with shared_among(min(request.jobs, len(jobs))), screen.progress(len(jobs)) as progress:
        yield from finish_all((_fold(job, options, request, progress) for job in jobs), request.jobs)


def _fold(job: Job, options: "FoldOptions", request: Request, progress: Progress) -> "Watching[_Result]":
    """Fold one model, and answer for it."""
    from bnfold.api.files import folding_file
    from bnfold.guard import Limits

    limits = Limits(request.time_limit, request.memory_limit)
    if request.save_repro is not None and len(request.models) > 1:
        options = replace(options, save_repro=request.save_repro / job.source.name)
    try:
        check_is_file(job.source)
        with progress.of(job.source) as step:
            report = yield from folding_file(
                job.source, job.target, options, in_place=job.in_place, progress=step, limits=limits
            )
    except Exception as error:
        return _failed(job.source, error)
    gate = Gate.of(request)
    refusal = gate.refusal(report) if gate is not None else ""
    return _Result(ExitCode.KEPT if refusal else ExitCode.DONE, report, refusal=refusal)


def _failed(source: Path, error: Exception) -> _Result:
    from bnfold.report.readable import Report

    report = error.report if isinstance(error, VerificationError) else None
    if isinstance(report, Report):
        return _Result(code_of(error), report, error=error)
    return _without_result(source, error)


def _without_result(source: Path, error: BaseException) -> _Result:
    from bnfold.report.model import Failure

    if isinstance(error, Exception):
        code = code_of(error)
        return _Result(code, failure=Failure(str(source), code, one_line(message_of(error))), error=error)
    code, how = stop_of(error)
    return _Result(code, failure=Failure(str(source), code, how))


def _tell(source: Path, result: _Result, screen: Screen) -> None:
    """Print what became of a model."""
    if result.report is not None:
        screen.show(result.report)
    if result.error is not None:
        screen.complain_of(result.error, source)
    elif result.refusal:
        screen.complain(result.refusal, source)


def _annotate(source: Path, result: _Result, screen: Screen) -> None:
    """Print what became of a model for GitHub's runners."""
    problem = message_of(result.error) if result.error is not None else result.refusal
    if problem:
        screen.tell(annotation("error", source, "bnfold", problem))
    for line in of_kept(result.report) if result.report is not None else ():
        screen.tell(line)


def _warn_of_unmatched(results: Sequence[_Result], request: Request, screen: Screen) -> None:
    """Name the patterns of --exclude and --allow-kept that say nothing, of which one is easily mistyped."""
    reports, _ = _told(results)
    gate = Gate.of(request)
    for pattern in gate.unmatched(reports) if gate is not None and reports else ():
        screen.warn(f"--allow-kept {pattern!r} matches no BatchNorm that stays")
    for pattern in reports[0].outcome.unmatched if reports else ():
        if all(pattern in report.outcome.unmatched for report in reports):
            where = reports[0].input if len(reports) == 1 else f"these {len(reports)} models"
            screen.warn(f"--exclude {pattern!r} matches no node of {where}")


def _save_reports(request: Request, results: Sequence[_Result], screen: Screen) -> list[ExitCode]:
    return save_reports(request.reports, *_told(results), screen)


def _told(results: Sequence[_Result]) -> "tuple[list[Report], list[Failure]]":
    """What there is to report of the models, and of those of which there is nothing."""
    reports = [result.report for result in results if result.report is not None]
    failures = [result.failure for result in results if result.failure is not None]
    return reports, failures
