"""What the report for people says of latency."""

from collections.abc import Sequence

from rich.console import RenderableType
from rich.text import Text

from bnfold.report.text_layout import QUIET, indented, labelled
from bnfold.report.wording import counted, printable, three_digits
from bnfold.timings import Latency

_STYLES = {"faster": "bold green", "slower": "yellow"}


def latency(latencies: Sequence[Latency]) -> list[RenderableType]:
    """The row on how long both models take; nothing where nobody asked."""
    if not latencies:
        return []
    lines: list[RenderableType] = []
    for entry in latencies:
        lines += _problem(entry) if entry.problem else _measured(entry)
    if any(not entry.problem for entry in latencies):
        lines.append(indented(2, Text("in turns; half of all runs lie between the numbers in parentheses", QUIET)))
    return [labelled("Latency", lines)]


def _measured(entry: Latency) -> list[RenderableType]:
    before, after = _times(entry)
    line = Text.assemble(f"{before} -> {after}  ", (_speedup(entry), _STYLES.get(entry.verdict, "")))
    return [line, indented(2, Text(f"{_how(entry)}, {counted(entry.runs, 'run')}", QUIET))]


def _problem(entry: Latency) -> list[RenderableType]:
    return [f"not measured: {printable(entry.problem)}", indented(2, Text(_how(entry), QUIET))]


def _speedup(entry: Latency) -> str:
    """Such as "1.76 times as fast (1.70 to 1.81)"."""
    between = f"({entry.speedup.low:.2f} to {entry.speedup.high:.2f})"
    if entry.verdict == "as fast":
        return f"as fast {between}"
    return f"{entry.speedup.median:.2f} times as fast {between}"


def _how(entry: Latency) -> str:
    """Such as "onnxruntime (CPU), level all, 1 thread"."""
    device = entry.device.removesuffix("ExecutionProvider")
    setting = f"level {entry.setting}" if entry.runtime == "onnxruntime" else entry.setting
    threads = [counted(entry.threads, "thread")] if entry.threads else []
    return ", ".join([f"{entry.runtime} ({device})", setting, *threads])


def _times(entry: Latency) -> tuple[str, str]:
    unit, factor = ("ms", 1e3) if entry.folded.median >= 1e-4 else ("us", 1e6)
    before, after = (three_digits(factor * spread.median) for spread in (entry.original, entry.folded))
    return f"{before} {unit}", f"{after} {unit}"
