"""What the report for people says of the check: the answer in its summary, and all figures where somebody asks."""

import math
from collections.abc import Sequence

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from bnfold.keywords import keyword
from bnfold.report.checks import reference, unchanged
from bnfold.report.model import Report
from bnfold.report.tensors import tensor_lines
from bnfold.report.text_layout import HEADING, QUIET, indented, labelled, numbers
from bnfold.report.wording import brief, counted, measured, printable, times, whole
from bnfold.verification import DeploymentCheck, OutputCheck, TensorCheck, Verification

_GOOD, _WEAK, _BAD = "bold green", "bold yellow", "bold red"
_MOST_PROBLEMS = 3
_SHORT = 3


def same_results(report: Report) -> list[RenderableType]:
    """The row "Same results": yes or no, and on what evidence; nothing of a plan, of which nothing can be compared."""
    if report.planned:
        return []
    lines = evidence(report.verification, unchanged(report))
    if report.read_as_inference and report.verification.passed and not report.verification.identical:
        lines.append(f"compared with {reference(report)}, as {keyword('assume_inference', True)} asks")
    return [answer_row(report.verification, lines)]


def answer_row(verification: Verification, lines: Sequence[str]) -> RenderableType:
    """The row "Same results" with these lines as the evidence."""
    answer, style = _answer(verification)
    if len(answer) > _SHORT or not lines:
        return labelled("Same results", [Text(answer, style), *lines])
    grid = Table.grid(padding=(0, 2, 0, 0))
    grid.add_column(style=style, no_wrap=True)
    grid.add_column(overflow="fold", ratio=1)
    for index, line in enumerate(lines):
        grid.add_row("" if index else answer, line)
    return labelled("Same results", [grid])


def _answer(verification: Verification) -> tuple[str, str]:
    match verification.status:
        case "passed" if not verification.warnings:
            return "yes", _GOOD
        case "passed":
            return f"yes, with {counted(len(verification.warnings), 'warning')}", _WEAK
        case "partial":
            return "yes, in parts", _WEAK
        case "failed":
            return "NO", _BAD
        case "unchecked":
            return "not known", _WEAK
        case "skipped":
            return "not checked", _WEAK


def evidence(verification: Verification, unchanged: str) -> list[str]:
    """What the answer rests on, or what is wrong.

    Args:
        verification: the verdict.
        unchanged: what is said where both models are the same.
    """
    if verification.status == "skipped":
        return []
    if verification.identical:
        return [f"{unchanged}, there was nothing to compare"]
    if not verification.passed:
        return _problems(verification)
    return [_outputs_in_short(verification), *_places(verification.tensors), *_deployed(verification.deployment)]


def _problems(verification: Verification) -> list[str]:
    """What is wrong as a whole, and the first outputs that are wrong."""
    lines = [printable(verification.problem)] if verification.problem else []
    wrong = [
        f"output {printable(each.name)!r}: {printable(_problem(each))}"
        for each in verification.outputs
        if not each.passed
    ]
    hidden = len(wrong) - _MOST_PROBLEMS
    lines += [line for line in wrong[:_MOST_PROBLEMS] if line not in lines]
    return lines + ([f"and {counted(hidden, 'more output')}"] if hidden > 0 else [])


def _problem(output: OutputCheck) -> str:
    return output.problem or "beyond the tolerance"


def _outputs_in_short(verification: Verification) -> str:
    """Such as "6 inputs; largest difference 4.1e-07 (rounding: 1.9e-07)", in units of the output's size."""
    inputs = counted(verification.samples, "input")
    worst = max(verification.outputs, key=lambda output: _number(output.max_rel), default=None)
    if worst is None:
        return inputs
    if not worst.max_rel:
        return f"{inputs}; every output is the same to the last bit"
    noise = max((_number(output.noise_floor) for output in verification.outputs), default=0.0)
    beside = f" (rounding: {brief(noise)})" if noise else ""
    return f"{inputs}; largest difference {brief(worst.max_rel)}{beside}"


def _places(tensors: Sequence[TensorCheck]) -> list[str]:
    """Such as "59 changes checked one by one, all within rounding"; of which not all could be, how many could."""
    if not tensors:
        return []
    alone = sum(not math.isnan(tensor.excess) for tensor in tensors)
    every = counted(len(tensors), "change")
    if not alone:
        return [f"{every} compared inside the model"]
    return [
        f"{every if alone == len(tensors) else f'{whole(alone)} of {every}'} checked one by one, all within rounding"
    ]


def _deployed(check: DeploymentCheck | None) -> list[str]:
    if check is None:
        return []
    note = f" ({printable(check.note)})" if check.note else ""
    provider = printable(check.provider.removesuffix("ExecutionProvider"))
    return [f"equal with onnxruntime's optimisations on ({provider}), too{note}"]


def _number(value: float) -> float:
    """0 for what was not measured."""
    return 0.0 if math.isnan(value) else value


def check_in_full(verification: Verification) -> list[RenderableType]:
    """Every output with its figures, and the worst place inside; nothing where nothing was compared."""
    if not verification.outputs and not verification.tensors:
        return []
    head = f"Check of {counted(verification.samples, 'input')}, seed {verification.seed}"
    lines: list[RenderableType] = [Text(head, HEADING)]
    if verification.outputs:
        lines.append(indented(2, _table(verification.outputs)))
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
    table.add_column(style=_BAD)
    for output in outputs:
        cells = [measured(output.max_abs), measured(output.max_rel)]
        if noisy:
            cells += [measured(output.noise_floor), times(output.max_rel, output.noise_floor)]
        table.add_row(printable(output.name), *cells, "" if output.passed else printable(_problem(output)))
    return table
