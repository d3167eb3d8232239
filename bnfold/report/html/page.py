"""The document: head, the models one after the other, and what ties several of them together."""

from collections.abc import Sequence

from bnfold.report.html.assets import policy, script, style
from bnfold.report.html.contents import contents
from bnfold.report.html.entries import Subject
from bnfold.report.html.markup import table, text
from bnfold.report.html.sections import in_full, in_short, links, render_sections
from bnfold.report.html.tools import tools
from bnfold.report.model import Failure, ReportData
from bnfold.version import __version__

_COLUMNS, _FEWEST_COLUMNS = 480, 60
"""Places in the plots of all models together, and in those of one."""
_DRAWN_ONE_BY_ONE = 400
"""Nodes on a page, at most, of which each has a drawing of its own: that is 1 MB."""


def render_html(reports: Sequence[ReportData], failures: Sequence[Failure] = ()) -> str:
    """One HTML page on all models of a call.

    Args:
        reports: one per model that has one, in the order of the call.
        failures: one per model that has none.
    """
    names = [*(report.input for report in reports), *(failure.input for failure in failures)]
    title = names[0] if len(names) == 1 else f"{len(names)} models"
    several = len(names) != 1 or not reports
    in_detail = sum(map(_size, reports)) <= _DRAWN_ONE_BY_ONE
    columns = max(_COLUMNS // max(len(reports), 1), _FEWEST_COLUMNS)
    subjects = [
        Subject(report, f"m{number}-" if several else "", in_detail, columns)
        for number, report in enumerate(reports, 1)
    ]
    body = _several(subjects, failures) if several else _only(subjects[0])
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{policy()}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta name="color-scheme" content="light dark">\n'
        f"<title>bnfold: {text(title)}</title>\n<style>{style()}</style>\n</head>\n<body>\n"
        f"{body}<footer>bnfold {text(__version__)}</footer>\n<script>{script()}</script>\n</body>\n</html>\n"
    )


def _only(subject: Subject) -> str:
    """The one model of a page, with links to its sections at the top."""
    sections = render_sections(subject)
    found = "".join(in_full(sections, tools([subject])))
    return f"{_top(links(sections))}<main>\n<article>\n{found}</article>\n</main>\n"


def _size(report: ReportData) -> int:
    outcome = report.outcome
    return len(outcome.folds) + len(outcome.lowered) + len(outcome.kept) + len(outcome.merges)


def _several(subjects: Sequence[Subject], failures: Sequence[Failure]) -> str:
    """What all models come to first, then each of them."""
    models = "".join(map(_model, subjects))
    return f"{_top()}<main>\n{contents(subjects, failures)}{tools(subjects)}{models}{_failures(failures)}</main>\n"


def _model(subject: Subject) -> str:
    sections = in_short(render_sections(subject), subject.prefix)
    return f'<article id="{subject.prefix}model" class="several">\n{"".join(sections)}</article>\n'


def _top(nav: str = "") -> str:
    inside = f'<nav aria-label="Sections">{nav}</nav>' if nav else ""
    return f'<header class="top"><b>bnfold report</b>{inside}</header>\n'


def _failures(failures: Sequence[Failure]) -> str:
    if not failures:
        return ""
    columns = (("model", "name"), ("exit code", "number"), ("", "result"))
    rows = [(failure.input, str(failure.exit_code), failure.message) for failure in failures]
    return f'<article id="failures">\n<h1>Models without a result</h1>\n{table(columns, rows)}</article>\n'
