"""The report for people: calm lines that fit a terminal, and every node by name where somebody asks for it."""

import math
from collections.abc import Sequence
from dataclasses import asdict
from io import StringIO

from rich.console import Console, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from bnfold.keywords import keyword
from bnfold.report.checks import reference, unchanged
from bnfold.report.model import Report
from bnfold.report.tensors import tensor_lines
from bnfold.report.text_merges import branches_apart, merged_branches, quantized_weights
from bnfold.report.text_nodes import folded_nodes, kept_nodes
from bnfold.report.wording import counted, fate, measured, overridable, printable, signed, times, timing, whole
from bnfold.verification import OutputCheck

_STATUS_STYLE = {
    "passed": "green",
    "failed": "bold red",
    "partial": "bold yellow",
    "unchecked": "bold yellow",
    "skipped": "yellow",
}


def render_text(report: Report, *, width: int = 80, color: bool = False, verbose: bool = False) -> str:
    """The report as lines of text.

    Args:
        report: what happened.
        width: columns of the terminal; longer lines are wrapped.
        color: whether to put ANSI colours in.
        verbose: show every node with every reason, not a few examples of each kind.

    Returns:
        Lines without blanks at their ends, with a line break after the last.
    """
    console = Console(
        file=StringIO(),
        width=width,
        force_terminal=color,
        color_system="standard" if color else None,
        highlight=False,
        markup=False,
        emoji=False,
        legacy_windows=False,
    )
    sections = [
        _headline(report),
        folded_nodes(report.outcome.folds, width=width, verbose=verbose),
        merged_branches(report.outcome.merges, verbose=verbose),
        kept_nodes(report.outcome.kept, verbose=verbose),
        branches_apart(report.outcome.apart, verbose=verbose),
        quantized_weights(report.outcome.folds, report.outcome.merges, verbose=verbose),
        _sizes(report),
        _check(report),
        _ending(report),
    ]
    with console.capture() as capture:
        for section in filter(None, sections):
            console.print(*section, "", sep="\n")
    return "\n".join(line.rstrip() for line in capture.get().rstrip().split("\n")) + "\n"


def _headline(report: Report) -> list[RenderableType]:
    batch_norms, others = report.batch_norms, report.affine_nodes
    lines: list[RenderableType] = [
        Text(printable(report.input), "bold", overflow="fold"),
        Text(fate(batch_norms, "BatchNorm")),
    ]
    if others.found:
        lines.append(Text(fate(others, "other affine node")))
    return lines


def _sizes(report: Report) -> list[RenderableType]:
    table = _columns("", "before", "after", "change")
    for name, change in (("nodes", report.nodes), ("parameters", report.parameters), ("bytes", report.bytes)):
        table.add_row(name, whole(change.before), whole(change.after), signed(change.after - change.before))
    lines: list[RenderableType] = [Text("Sizes", "bold"), _indented(table)]
    if report.overridable_initializers:
        lines.append(_indented(Text(overridable(report.overridable_initializers))))
    return lines


def _check(report: Report) -> list[RenderableType]:
    verification = report.verification
    status = verification.status
    head = Text.assemble(("Check ", "bold"), (status, _STATUS_STYLE[status]))
    if status == "skipped":
        return [head.append(": nothing was compared")]
    if verification.identical:
        return [head.append(f": {unchanged(report)}, there was nothing to compare")]
    if status == "unchecked" and not verification.samples:
        return [head, _indented(Text(printable(verification.problem)))]
    head.append(f" on {counted(verification.samples, 'sample')}, seed {verification.seed}")
    lines: list[RenderableType] = [head]
    if report.read_as_inference:
        lines.append(_indented(Text(f"compared with {reference(report)}, as {keyword('assume_inference', True)} asks")))
    if verification.problem and not any(output.problem for output in verification.outputs):
        lines.append(_indented(Text(printable(verification.problem))))
    if verification.outputs:
        lines.append(_indented(_outputs(verification.outputs)))
    lines += [_indented(Text(printable(line))) for line in tensor_lines(verification)]
    lines += [_indented(_warning(text)) for text in verification.warnings]
    return lines


def _warning(text: str) -> Text:
    return Text.assemble(("warning: ", "yellow"), printable(text))


def _outputs(outputs: Sequence[OutputCheck]) -> Table:
    """One line per output; the original's own noise beside it where it was measured."""
    noisy = any(not math.isnan(output.noise_floor) for output in outputs)
    table = _columns("output", "max abs", "max rel", *(["own noise", ""] if noisy else []))
    table.add_column(style=_STATUS_STYLE["failed"])
    for output in outputs:
        numbers = [measured(output.max_abs), measured(output.max_rel)]
        if noisy:
            numbers += [measured(output.noise_floor), times(output.max_rel, output.noise_floor)]
        problem = output.problem or ("" if output.passed else "beyond the tolerance")
        table.add_row(printable(output.name), *numbers, printable(problem))
    return table


def _ending(report: Report) -> list[RenderableType]:
    if report.output is not None:
        done = Text.assemble("Wrote ", (printable(report.output), "bold"))
    elif report.verification.status == "unchecked":
        done = Text("Nothing was written: equality could not be checked")
    elif report.verification.status == "failed":
        done = Text("Nothing was written: the check failed")
    else:
        done = Text("Nothing was written")
    return [done, Text("in " + timing(asdict(report.seconds)), "dim"), *map(_warning, report.warnings)]


def _columns(first: str, *numbers: str) -> Table:
    """A table without lines: names on the left, numbers on the right."""
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim", show_edge=False)
    table.add_column(first, overflow="fold")
    for heading in numbers:
        table.add_column(heading, justify="right", no_wrap=True)
    return table


def _indented(content: RenderableType) -> Padding:
    return Padding(content, (0, 0, 0, 2))
