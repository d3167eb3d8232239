"""Several models: totals, and a table of all of them with links."""

from collections.abc import Sequence

from bnfold.report.evidence import answer_of
from bnfold.report.html.entries import Subject
from bnfold.report.html.markup import paragraph, text
from bnfold.report.model import Failure
from bnfold.report.wording import counted, file_sizes, whole

_COLUMNS = ("model", "same results", "BatchNorms", "left", "nodes", "file")


def contents(subjects: Sequence[Subject], failures: Sequence[Failure]) -> str:
    """What all models have come to together, then each in one line."""
    rows = "".join(map(_row, subjects)) + "".join(map(_failed_row, failures))
    head = "".join(f"<th>{column}</th>" for column in _COLUMNS)
    return (
        f'<section class="contents" id="contents">\n<h1>{counted(len(subjects) + len(failures), "model")}</h1>\n'
        f"{paragraph(_totals(subjects, failures), 'big')}"
        f'<div class="scroll"><table>\n<thead><tr>{head}</tr></thead>\n'
        f"<tbody>\n{rows}</tbody></table></div>\n</section>\n"
    )


def _totals(subjects: Sequence[Subject], failures: Sequence[Failure]) -> str:
    """Such as "118 of 180 BatchNorms folded, 62 left; same results in 3 of 4 models; 1 without a result"."""
    reports = [subject.report for subject in subjects]
    tallies = [report.batch_norms for report in reports if report.is_done or report.planned]
    found, folded, kept = (sum(getattr(tally, what) for tally in tallies) for what in ("found", "folded", "kept"))
    would, stay = ("would fold", "would be left") if any(report.planned for report in reports) else ("folded", "left")
    parts = [f"{whole(folded)} of {counted(found, 'BatchNorm')} {would}, {whole(kept)} {stay}"]
    if any(report.verification.status != "skipped" for report in reports):
        equal = sum(report.verification.passed for report in reports)
        parts.append(f"same results in {whole(equal)} of {counted(len(subjects) + len(failures), 'model')}")
    if failures:
        parts.append(f"{whole(len(failures))} without a result")
    return "; ".join(parts)


def _row(subject: Subject) -> str:
    report = subject.report
    word, grade = ("a plan", "weak") if report.planned else answer_of(report.verification)
    tally = report.batch_norms
    before, after, unit = file_sizes(report.bytes.before, report.bytes.after)
    file = "" if report.planned else f"{before} \u2192 {after} {unit}"
    cells = (
        f'<td class="name"><a href="#{subject.prefix}model">{text(report.input)}</a></td>',
        f'<td class="grade {grade}">{text(word)}</td>',
        f'<td class="number">{whole(tally.found)}</td>',
        f'<td class="number">{whole(tally.kept)}</td>',
        f'<td class="number">{whole(report.nodes.before)} \u2192 {whole(report.nodes.after)}</td>',
        f'<td class="number">{file}</td>',
    )
    return f"<tr>{''.join(cells)}</tr>\n"


def _failed_row(failure: Failure) -> str:
    return (
        f'<tr><td class="name"><a href="#failures">{text(failure.input)}</a></td>'
        f'<td class="grade bad">no result</td><td colspan="4">{text(failure.message)}</td></tr>\n'
    )
