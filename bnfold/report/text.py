"""The report for people: the answer first, in lines that fit a terminal, and every node by name where somebody asks.

A section is a function that gives the lines of one subject, or none where there is nothing to say. The summary is made
of rows with a label; what is only for those who ask (`verbose`) comes behind it, so that the answer stays on top.
"""

from collections.abc import Iterator
from dataclasses import asdict

from rich.console import RenderableType
from rich.text import Text

from bnfold.report.evidence import steps_after_a_failure
from bnfold.report.model import ReportData
from bnfold.report.text_check import check_in_full, same_results
from bnfold.report.text_latency import latency
from bnfold.report.text_layout import HEADING, QUIET, as_lines, labelled, warning_line
from bnfold.report.text_left import batch_norms_left
from bnfold.report.text_lowered import lowered_in_short, lowered_nodes
from bnfold.report.text_merges import branches_apart, merged_branches, merged_in_short, quantized_weights
from bnfold.report.text_nodes import crossed_in_short, folded_nodes, kept_nodes
from bnfold.report.text_sizes import sizes
from bnfold.report.wording import overridable, printable, seconds, timing


def render_text(
    report: ReportData, *, width: int = 80, color: bool = False, verbose: bool = False, warnings: bool = True
) -> str:
    """The report as lines of text.

    Args:
        report: what happened.
        width: columns of the terminal; longer lines are wrapped.
        color: whether to put ANSI colours in.
        verbose: show every node with every reason as well.
        warnings: put the warnings in; without, whoever prints the report says them elsewhere.

    Returns:
        Lines without blanks at their ends, with a line break after the last.
    """
    return as_lines(_sections(report, verbose=verbose, warnings=warnings), width=width, color=color)


def _sections(report: ReportData, *, verbose: bool, warnings: bool) -> Iterator[list[RenderableType]]:
    outcome = report.outcome
    yield _headline(report)
    yield [
        *sizes(report, verbose=verbose),
        *merged_in_short(outcome.merges),
        *crossed_in_short(outcome.folds),
        *lowered_in_short(outcome),
    ]
    yield same_results(report)
    yield latency(report.latencies)
    yield batch_norms_left(outcome.kept, verbose=verbose)
    yield [*quantized_weights(outcome.folds, outcome.merges, verbose=verbose), *_notes(report)]
    if verbose:
        yield folded_nodes(report)
        yield merged_branches(outcome.merges)
        yield branches_apart(outcome.apart)
        yield lowered_nodes(outcome)
        yield kept_nodes(outcome.kept)
        yield check_in_full(report.verification)
    if warnings:
        yield [warning_line(text) for text in (*report.verification.warnings, *report.warnings)]
    yield _ending(report, verbose=verbose)


def _headline(report: ReportData) -> list[RenderableType]:
    opsets = report.environment.opsets if report.environment is not None else ()
    opset = next((f", opset {version}" for domain, version in opsets if domain in ("", "ai.onnx")), "")
    return [Text.assemble((printable(report.input), HEADING), (f"  {report.format}{opset}", QUIET), overflow="fold")]


def _notes(report: ReportData) -> list[RenderableType]:
    count = report.overridable_initializers
    return [labelled("Note", [overridable(count)])] if count else []


def _ending(report: ReportData, *, verbose: bool) -> list[RenderableType]:
    """What was written, and how long all of it took."""
    took = timing(asdict(report.seconds)) if verbose else seconds(sum(asdict(report.seconds).values()))
    if report.output is not None:
        return [Text.assemble("Wrote ", (printable(report.output), HEADING), (f" in {took}", QUIET), overflow="fold")]
    why = {"unchecked": ": equality could not be checked", "failed": ": the check failed"}
    done = "This is a plan, nothing was written" if report.planned else "Nothing was written"
    spent = f"; it took {took}" if verbose else f" ({took})"
    line = Text.assemble(done, why.get(report.verification.status, ""), (spent, QUIET))
    next_steps = steps_after_a_failure(report)
    return [line, Text(next_steps, QUIET)] if next_steps else [line]
