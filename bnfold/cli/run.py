"""Carries a call out: every model by itself, then the report files, then one exit code for all."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from bnfold.cli.exit_codes import ExitCode, message_of, worst
from bnfold.cli.request import CheckRequest, Request
from bnfold.cli.samples import read_samples
from bnfold.cli.screen import Screen
from bnfold.cli.targets import Job, check_reports, existing, output_folder, plan_jobs
from bnfold.errors import VerificationError
from bnfold.report.wording import one_line

if TYPE_CHECKING:
    from bnfold.api import FoldOptions
    from bnfold.judge import VerifyOptions
    from bnfold.report.model import Failure, Report


@dataclass(frozen=True)
class _Result:
    code: ExitCode
    report: "Report | None"
    failure: "Failure | None"


def run(request: Request, screen: Screen) -> ExitCode:
    """Fold all models of a call; one that fails does not stop the others.

    Raises:
        UsageError: the call contradicts itself or the file system; nothing was done.
    """
    jobs = _jobs(request)
    check_reports(request.reports, jobs)
    options = _options(request)
    folder = None if request.dry_run else output_folder(request.models, request.output)
    with existing(folder):
        results = [_fold(job, options, request, screen) for job in jobs]
    return worst([*(result.code for result in results), *_save_reports(request, results, screen)])


def _jobs(request: Request) -> list[Job]:
    if request.dry_run:
        return [Job(model, None) for model in request.models]
    return plan_jobs(
        request.models, request.output, in_place=request.in_place, suffix=f".{request.to}" if request.to else ""
    )


def _options(request: Request) -> "FoldOptions":
    from bnfold.api import FoldOptions

    return FoldOptions(
        affine=request.affine,
        exclude=request.exclude,
        assume_inference=request.assume_inference,
        keep_overridable=request.keep_overridable,
        to="onnx" if request.to == "onnx" else "",
        verify=None if request.check is None else _verify_options(request.check),
        on_mismatch=request.on_mismatch,
    )


def _verify_options(check: CheckRequest) -> "VerifyOptions":
    from bnfold.judge import VerifyOptions

    return VerifyOptions(
        samples=check.samples,
        seed=check.seed,
        rtol=check.rtol,
        atol=check.atol,
        shapes=check.shapes,
        dims=check.dims,
        inputs={name: read_samples(name, path) for name, path in check.inputs.items()},
        provider=check.provider,
        memory=check.memory,
        custom_ops=check.custom_ops,
    )


def _fold(job: Job, options: "FoldOptions", request: Request, screen: Screen) -> _Result:
    """Fold one model, print what happened, and answer for it."""
    from bnfold.api import fold_file
    from bnfold.guard import Limits

    limits = Limits(request.time_limit, request.memory_limit)
    try:
        with screen.progress(job.source) as progress:
            report = fold_file(job.source, job.target, options, in_place=job.in_place, progress=progress, limits=limits)
    except Exception as error:
        return _failed(job.source, error, screen)
    screen.show(report)
    kept = report.batch_norms.kept
    if request.fail_on_kept and kept:
        screen.complain(f"--fail-on-kept: {kept} of {report.batch_norms.found} BatchNorms stay", job.source)
        return _Result(ExitCode.KEPT, report, None)
    return _Result(ExitCode.DONE, report, None)


def _failed(source: Path, error: Exception, screen: Screen) -> _Result:
    from bnfold.report.model import Failure, Report

    report = error.report if isinstance(error, VerificationError) else None
    if isinstance(report, Report):
        screen.show(report)
        return _Result(screen.complain_of(error, source), report, None)
    code = screen.complain_of(error, source)
    return _Result(code, None, Failure(str(source), code, one_line(message_of(error))))


def _save_reports(request: Request, results: Sequence[_Result], screen: Screen) -> list[ExitCode]:
    """Write the report files. One model gets a report of its own, and none where there is nothing to report."""
    reports = [result.report for result in results if result.report is not None]
    failures = [result.failure for result in results if result.failure is not None]
    if not request.reports or (len(results) == 1 and not reports):
        return []
    from bnfold.report.save import save_report, save_report_of_several

    codes = []
    for path in request.reports:
        try:
            if len(results) == 1:
                save_report(path, reports[0])
            else:
                save_report_of_several(path, reports, failures)
        except OSError as error:
            screen.complain(f"the report cannot be written: {error.strerror or error}", path)
            codes.append(ExitCode.USAGE)
    return codes
