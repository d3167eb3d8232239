"""One fold of one model, whatever its format, and wherever it comes from and goes to: fold, write, check, report."""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from bnfold.api.environment import environment
from bnfold.api.formats.protocol import Candidate, Folded, Progress, Source
from bnfold.api.places import Staged, check_target
from bnfold.api.reproducing import reproduced, reproduction_of_memory
from bnfold.api.result import FoldResult
from bnfold.api.stopwatch import Stopwatch
from bnfold.api.verdict import raise_if_failed, verdict_of
from bnfold.errors import UncheckedError
from bnfold.outcome import Change
from bnfold.report.readable import Report
from bnfold.reverting import Attempt, fold_what_holds
from bnfold.verification import SKIPPED, Verification
from bnfold.writing.destination import Destination


@dataclass(frozen=True)
class _Done:
    report: Report
    folded: Folded
    candidate: Candidate


def plan(
    source: Source, name: str, watch: Stopwatch, progress: Progress = lambda _: None, *, read: Sequence[Path] = ()
) -> Report:
    """What would be folded; nothing is written or checked.

    Args:
        source: the model.
        name: for the report.
        watch: started before the model was opened.
        progress: told what is being done.
        read: the files of the model.
    """
    progress("folding")
    folded = source.fold((), watch)
    report = replace(_report(source, name, None, folded, source.size, SKIPPED, watch), planned=True)
    return _in_environment(report, source, read, ())


def fold_in_memory(source: Source, name: str, watch: Stopwatch) -> FoldResult[Any]:
    """Fold a model, and keep the result.

    Args:
        source: the model.
        name: for the report.
        watch: started before the model was opened.

    Raises:
        VerificationError: the result does not equal the original. The error carries the report.
        UncheckedError: equality could not be checked; likewise.
    """
    with reproduction_of_memory(source.options) as scratch:
        done = _fold(source, lambda folded: folded.keep(), name, None, (), scratch, watch, lambda _: None)
    return FoldResult(done.folded.model, done.report)


def stage(
    source: Source,
    path: Path,
    target: Destination,
    folder: Path,
    watch: Stopwatch,
    progress: Progress,
    *,
    in_place: bool,
) -> Staged:
    """Fold a file, and leave the checked result in a staging folder.

    Args:
        source: the model.
        path: its file.
        target: where the result will go.
        folder: the staging folder.
        watch: started before the model was opened.
        progress: told what is being done.
        in_place: whether target may be the file itself.

    Raises:
        UsageError: the target cannot be written, or would overwrite a file of the source.
        VerificationError, UncheckedError: as `fold_in_memory`.
    """
    check_target(path, source.data_files, target, in_place=in_place)
    read = (path, *source.data_files)
    done = _fold(
        source,
        lambda folded: folded.save(folder, target.path),
        str(path),
        str(target.given),
        read,
        folder,
        watch,
        progress,
    )
    return Staged(done.report, tuple(done.candidate.files))


def _fold(
    source: Source,
    finish: Callable[[Folded], Candidate],
    name: str,
    output: str | None,
    read: Sequence[Path],
    scratch: Path | None,
    watch: Stopwatch,
    progress: Progress,
) -> _Done:
    """Fold and check; where the options say so, as often as it takes to find out what holds."""
    told: list[str] = []

    def attempt(without: Collection[int]) -> Attempt[tuple[Folded, Candidate]]:
        progress("folding")
        folded = source.fold(without, watch)
        progress("writing")
        candidate = finish(folded)
        watch.lap("save")
        verdict = _judged(candidate, source, progress)
        watch.lap("verify")
        if verdict.status == "failed" and not told and source.options.save_repro is not None and scratch is not None:
            told.append(_reproduced(candidate, verdict, source, scratch, progress))
        return Attempt(folded.outcome, verdict, (folded, candidate))

    reverts = source.options.on_mismatch == "revert"
    found = fold_what_holds(attempt) if reverts else attempt(())
    folded, candidate = found.result
    # Of the last attempt, but that those which were dropped before have their reason.
    report = _report(source, name, output, folded, candidate.size, found.verdict, watch)
    report = replace(report, outcome=found.outcome, warnings=(*report.warnings, *candidate.warnings, *told))
    report = _in_environment(report, source, read, candidate.files)
    raise_if_failed(report)
    report = _timed(report, candidate, source, progress)
    watch.lap("bench")
    return _Done(replace(report, seconds=watch.seconds), folded, candidate)


def _reproduced(candidate: Candidate, verdict: Verification, source: Source, scratch: Path, progress: Progress) -> str:
    """Put what differs into the scratch folder; where it will be, or why there is nothing."""
    progress("saving what differs")
    options = source.options
    return reproduced(options, scratch, lambda folder: candidate.reproduce(verdict, options.feeding, folder))


def _timed(report: Report, candidate: Candidate, source: Source, progress: Progress) -> Report:
    """With latencies, where somebody asks for them; a fold that is right stays so where they cannot be had."""
    how = source.options.timing
    if how is None or not report.outcome.changes:
        return report
    progress("timing")
    try:
        return replace(report, latencies=tuple(candidate.time(how, source.options.feeding)))
    except UncheckedError as error:
        return replace(report, warnings=(*report.warnings, f"nothing was timed: {error}"))


def _judged(candidate: Candidate, source: Source, progress: Progress) -> Verification:
    how = source.options.check
    if how is None:
        return SKIPPED
    progress("comparing")
    return verdict_of(lambda: candidate.check(how, progress), how.seed)


def _report(
    source: Source,
    name: str,
    output: str | None,
    folded: Folded,
    size: int,
    verdict: Verification,
    watch: Stopwatch,
) -> Report:
    return Report(
        input=name,
        output=output,
        format=source.format,
        outcome=folded.outcome,
        nodes=folded.nodes,
        parameters=folded.parameters,
        bytes=Change(source.size, size),
        verification=verdict,
        seconds=watch.seconds,
        read_as_inference=folded.read_as_inference,
        overridable_initializers=folded.overridable_initializers,
        warnings=tuple(source.warnings),
    )


def _in_environment(report: Report, source: Source, read: Sequence[Path], written: Sequence[Path]) -> Report:
    return replace(report, environment=environment(source.options, source.opsets, read, written))
