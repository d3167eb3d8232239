"""What the report for people says of the check: the answer in its summary, and all figures where somebody asks."""

import math
from collections.abc import Sequence

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from bnfold.report.evidence import Grade, answer_of, evidence_of, problem_of
from bnfold.report.model import ReportData
from bnfold.report.tensors import tensor_lines
from bnfold.report.text_layout import HEADING, QUIET, indented, labelled, numbers
from bnfold.report.wording import counted, measured, printable, times
from bnfold.verification import OutputCheck, Verification

_BAD = "bold red"
_STYLES: dict[Grade, str] = {"good": "bold green", "weak": "yellow", "bad": _BAD}
_SHORT = 3


def same_results(report: ReportData) -> list[RenderableType]:
    """The row "Same results": yes or no, and on what evidence; nothing of a plan, of which nothing can be compared."""
    if report.planned:
        return []
    return [answer_row(report.verification, evidence_of(report))]


def answer_row(verification: Verification, lines: Sequence[str]) -> RenderableType:
    """The row "Same results" with these lines as the evidence."""
    answer, grade = answer_of(verification)
    style = _STYLES[grade]
    if len(answer) > _SHORT or not lines:
        return labelled("Same results", [Text(answer, style), *lines])
    grid = Table.grid(padding=(0, 2, 0, 0))
    grid.add_column(style=style, no_wrap=True)
    grid.add_column(overflow="fold", ratio=1)
    for index, line in enumerate(lines):
        grid.add_row("" if index else answer, line)
    return labelled("Same results", [grid])


def check_in_full(verification: Verification) -> list[RenderableType]:
    """Every output with its figures, and the worst place inside; nothing where nothing was compared."""
    if not verification.outputs and not verification.tensors:
        return []
    head = f"Check of {counted(verification.samples, 'input')}, seed {verification.seed}"
    lines: list[RenderableType] = [Text(head, HEADING)]
    if verification.outputs:
        lines.append(indented(2, _table(verification.outputs)))
        lines += [indented(2, Text(_failed(output), _BAD)) for output in verification.outputs if not output.passed]
    lines += [indented(2, Text(printable(line))) for line in tensor_lines(verification)]
    lines.append(
        indented(
            2,
            Text(
                "differences in units of the largest value; own noise: what another rounding of the original makes",
                QUIET,
            ),
        )
    )
    return lines


def _table(outputs: Sequence[OutputCheck]) -> Table:
    """One line per output; the original's own noise beside it where it was measured."""
    noisy = any(not math.isnan(output.noise_floor) for output in outputs)
    table = numbers("output", "max abs", "max rel", *(["own noise", ""] if noisy else []))
    for output in outputs:
        cells = [measured(output.max_abs), measured(output.max_rel)]
        if noisy:
            cells += [measured(output.noise_floor), times(output.max_rel, output.noise_floor)]
        table.add_row(printable(output.name), *cells)
    return table


def _failed(output: OutputCheck) -> str:
    return printable(f"{output.name}: {problem_of(output)}")
