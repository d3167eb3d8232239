"""The closing line on a call with several models."""

from collections.abc import Sequence

from bnfold.report.model import Failure, ReportData
from bnfold.report.wording import counted, seconds, whole


def render_totals(reports: Sequence[ReportData], failures: Sequence[Failure], spent: float) -> str:
    """What became of all models together, in one line.

    Args:
        reports: one per model that has one.
        failures: one per model that has none.
        spent: seconds.
    """
    done = [report for report in reports if report.is_done or report.planned]
    tallies = [report.batch_norms for report in done]
    before, after = (sum(getattr(tally, what) for tally in tallies) for what in ("found", "kept"))
    would = "would go " if any(report.planned for report in done) else ""
    parts = [f"BatchNorms {would}{whole(before)} -> {whole(after)}", *_verdicts(reports), *_failures(failures)]
    models = counted(len(reports) + len(failures), "model")
    return f"{models} in {seconds(spent)}: {', '.join(parts)}\n"


def _verdicts(reports: Sequence[ReportData]) -> list[str]:
    """How many of the checks said what; those that nobody asked are not told."""
    statuses = [report.verification.status for report in reports]
    told = {
        "with the same results": sum(status in ("passed", "partial") for status in statuses),
        "NOT the same": statuses.count("failed"),
        "not known": statuses.count("unchecked"),
    }
    return [f"{whole(count)} {what}" for what, count in told.items() if count]


def _failures(failures: Sequence[Failure]) -> list[str]:
    return [f"{whole(len(failures))} without a result"] if failures else []
