"""The top of the page: what happened, whether the results are the same, what is left and why."""

from collections.abc import Iterator

from bnfold.outcome import Kept
from bnfold.report.evidence import answer_of, evidence_of, steps_after_a_failure
from bnfold.report.grouping import group_by_fate, group_by_verdict
from bnfold.report.html.entries import Entry, Subject
from bnfold.report.html.markup import code, paragraph, text
from bnfold.report.model import ReportData, Tally
from bnfold.report.verdicts import WHERE, needs_a_person, obstacle_on_its_way, verdict_of, ways_of, what_would_do
from bnfold.report.wording import counted, file_sizes, overridable, printable, seconds, whole

_MOST_GROUPS = 5
_MOST_FAILED = 5
_MARKS = {"good": "\u2713", "weak": "!", "bad": "\u2715"}


def answer(subject: Subject) -> str:
    """All that a person has to read."""
    report = subject.report
    return (
        f'<div class="answer">\n<h1>{text(report.input)}</h1>\n{_where(report)}'
        f"{_verdict(subject)}{_facts(report)}</div>\n{_left(subject)}{_warnings(report)}"
    )


def _where(report: ReportData) -> str:
    """What it is, where the result went, how long that took."""
    opset = next((version for domain, version in _opsets(report) if domain in ("", "ai.onnx")), None)
    parts = [report.format if opset is None else f"{report.format}, opset {opset}"]
    if report.output is not None:
        parts.append(f"written to {report.output}")
    elif report.planned:
        parts.append("this is a plan, nothing was written")
    elif report.is_done:
        parts.append("in memory")
    parts.append(f"in {seconds(_spent(report))}")
    return paragraph(" \u00b7 ".join(parts), "quiet")


def _opsets(report: ReportData) -> tuple[tuple[str, int], ...]:
    return () if report.environment is None else report.environment.opsets


def _spent(report: ReportData) -> float:
    took = report.seconds
    return took.load + took.plan + took.apply + took.verify + took.save


def _verdict(subject: Subject) -> str:
    """Same results, yes or no; of a plan, what would be done."""
    report = subject.report
    if report.planned:
        return f'<div class="verdict weak"><b class="mark">?</b><div>{_headline(report)}</div></div>\n'
    word, grade = answer_of(report.verification)
    said = [printable(entry.check.worst.problem) for entry in subject.failed if entry.check and entry.check.worst]
    lines = "".join(paragraph(line) for line in evidence_of(report) if not any(problem in line for problem in said))
    return (
        f'<div class="verdict {grade}"><b class="mark">{_MARKS[grade]}</b><div>{_headline(report)}'
        f'<p class="same">Same results: <b>{text(word)}</b></p>\n'
        f"{lines}{_failed(subject)}{_next_steps(report)}</div></div>\n"
    )


def _next_steps(report: ReportData) -> str:
    steps = steps_after_a_failure(report)
    return paragraph(steps, "quiet") if steps else ""


def _headline(report: ReportData) -> str:
    return f'<p class="big">{text(happened(report))}</p>\n'


def happened(report: ReportData) -> str:
    """Such as "59 of 121 BatchNorms folded, 62 left"; of a plan, what would be; of a check that did not pass, that."""
    if report.verification.status == "failed":
        return "The check failed, and nothing was written"
    if report.verification.status == "unchecked":
        return "Equality could not be checked, and nothing was written"
    batch_norms, others = report.batch_norms, report.affine_nodes
    if batch_norms.found or not others.found:
        return _fate(batch_norms, "BatchNorm", report)
    return f"No BatchNorm found; {_fate(others, 'other affine node', report)}"


def _fate(tally: Tally, noun: str, report: ReportData) -> str:
    """Such as "20 of 30 Muls folded, 8 identities removed, 2 left"."""
    if not tally.found:
        return f"No {noun} found, nothing to fold"
    done = report.is_done
    folds = f"{whole(tally.folded - tally.identities)} of {counted(tally.found, noun)}"
    parts = [f"{folds} folded" if done else f"{folds} would fold"]
    if tally.identities:
        kind = "identity" if tally.identities == 1 else "identities"
        parts.append(f"{whole(tally.identities)} {kind} {'removed' if done else 'would go'}")
    if tally.lowered:
        parts.append(f"{whole(tally.lowered)} {'lowered' if done else 'would be lowered'}")
    if tally.kept:
        parts.append(f"{whole(tally.kept)} {'left' if done else 'would be left'}")
    return ", ".join(parts)


def _failed(subject: Subject) -> str:
    """The folds that the check is against, each a link."""
    if not subject.failed:
        return ""
    shown = subject.failed[:_MOST_FAILED]
    more = len(subject.failed) - len(shown)
    rows = "".join(f"<li>{_failure(entry)}</li>\n" for entry in shown)
    rest = f"<li>and {whole(more)} more</li>\n" if more else ""
    return f"<p>{counted(len(subject.failed), 'fold')} failed:</p>\n<ul>\n{rows}{rest}</ul>\n"


def _failure(entry: Entry) -> str:
    worst = None if entry.check is None else entry.check.worst
    problem = "" if worst is None else f": {text(worst.problem)}"
    return f'<a href="#{entry.anchor}">{text(entry.node.node)}</a>{problem}'


def _facts(report: ReportData) -> str:
    """Before and after; nothing where there is no after."""
    if not report.planned and not report.is_done:
        return ""
    batch_norms, others = report.batch_norms, report.affine_nodes
    facts = [("BatchNorms", whole(batch_norms.found), whole(batch_norms.kept))]
    if others.found:
        facts.append(("other affine nodes", whole(others.found), whole(others.kept)))
    facts.append(("nodes", whole(report.nodes.before), whole(report.nodes.after)))
    if not report.planned:
        before, after, unit = file_sizes(report.bytes.before, report.bytes.after)
        facts.append(("file", before, f"{after} {unit}"))
    cells = "".join(
        f'<div><dt>{label}</dt><dd>{before} <span class="to">\u2192</span> <b>{after}</b></dd></div>\n'
        for label, before, after in facts
    )
    return f'<dl class="facts">\n{cells}</dl>\n'


def _left(subject: Subject) -> str:
    """What is left, by what can be done about it; what stands in the way on each side, once."""
    kept = [entry.node for entry in subject.batch_norms if isinstance(entry.node, Kept)]
    if not kept:
        return ""
    parts = []
    for nodes in group_by_verdict(kept):
        kind = "verdict-line weak" if needs_a_person(nodes[0]) else "verdict-line"
        parts.append(f'<h2 class="{kind}">{whole(len(nodes))} left: {text(verdict_of(nodes[0]))}</h2>\n')
        groups = group_by_fate(nodes)
        parts.append(f'<ul class="why">\n{"".join(_group(subject, group) for group in groups[:_MOST_GROUPS])}</ul>\n')
        hidden = groups[_MOST_GROUPS:]
        if hidden:
            count = f"{counted(sum(map(len, hidden)), 'other')} in {counted(len(hidden), 'group')}"
            parts.append(f'<p class="quiet">and {count}, below</p>\n')
    return f'<div class="left-over">\n{"".join(parts)}</div>\n'


def _group(subject: Subject, nodes: tuple[Kept, ...]) -> str:
    entry = subject.by_node[id(nodes[0])]
    link = f'<a href="#{entry.anchor}">{text(nodes[0].node)}</a>'
    such, more = ("such as", f" and {whole(len(nodes) - 1)} more") if len(nodes) > 1 else ("it is", "")
    hints = dict.fromkeys(refusal.hint for refusal in ways_of(nodes[0]) if refusal.hint)
    notes = "".join(f'<span class="quiet">{text(hint)}</span>' for hint in hints)
    ways = list(reasons(nodes[0], subject.prefix))
    if any(node.would_do for node in nodes):
        ways.append(f"<i>instead</i> {text(what_would_do(nodes))}")
    return (
        f"<li><b>{whole(len(nodes))}</b><div>{'; '.join(ways)}"
        f'<span class="quiet such">{such} {link}{more}</span>{notes}</div></li>\n'
    )


def reasons(kept: Kept, prefix: str) -> Iterator[str]:
    """What stands in the way of each way, with its code, as HTML: "before: others read what Conv makes BNF201"."""
    for refusal in ways_of(kept):
        said = text(obstacle_on_its_way(refusal))
        yield f"<i>{WHERE[refusal.way]}</i> {said} {code(refusal.reason.code, prefix)}"


def _warnings(report: ReportData) -> str:
    notes = [overridable(report.overridable_initializers)] if report.overridable_initializers else []
    lines = [*report.verification.warnings, *report.warnings]
    said = [*(f"warning: {line}" for line in lines), *notes]
    return f'<div class="warnings">\n{"".join(map(paragraph, said))}</div>\n' if said else ""
