"""How long the model takes before and after, where somebody asked for that."""

from bnfold.report.html.entries import Subject
from bnfold.report.html.markup import paragraph, table
from bnfold.report.wording import three_digits, whole
from bnfold.timings import Latency, Spread

_SAID = "Milliseconds for one run, median and quartiles; both models run in turns. Speedup: run by run."
_COLUMNS = (
    ("runtime", ""),
    ("setting", ""),
    ("device", ""),
    ("threads", "number"),
    ("runs", "number"),
    ("original", "number"),
    ("folded", "number"),
    ("speedup", "number"),
    ("", "result"),
)


def latency(subject: Subject) -> str:
    """A row for each setting; nothing where nobody asked."""
    found = subject.report.latencies
    return paragraph(_SAID, "quiet") + table(_COLUMNS, map(_row, found)) if found else ""


def _row(entry: Latency) -> tuple[str, ...]:
    where = (entry.runtime, entry.setting, entry.device, whole(entry.threads) if entry.threads else "")
    if entry.problem:
        return (*where, "", "", "", "", entry.problem)
    ratio = entry.speedup
    return (
        *where,
        whole(entry.runs),
        _milliseconds(entry.original),
        _milliseconds(entry.folded),
        f"{ratio.median:.2f} ({ratio.low:.2f} to {ratio.high:.2f})",
        entry.verdict,
    )


def _milliseconds(spread: Spread) -> str:
    low, median, high = (three_digits(1000 * seconds) for seconds in (spread.low, spread.median, spread.high))
    return f"{median} ({low} to {high})"
