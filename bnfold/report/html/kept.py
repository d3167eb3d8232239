"""The nodes that stay: groups that the same keeps, with a drawing of the closed ways, and a row for each."""

from collections.abc import Sequence

from bnfold.outcome import Apart, Kept
from bnfold.refusal import Refusal
from bnfold.report.grouping import group_by_fate
from bnfold.report.html.answer import reasons
from bnfold.report.html.chains import draw
from bnfold.report.html.drawings import closed_ways, nameless
from bnfold.report.html.entries import Entry, Subject
from bnfold.report.html.markup import code, disclosure, middle_elided, table, text
from bnfold.report.html.rows import row, rows
from bnfold.report.labels import all_called, called
from bnfold.report.verdicts import verdict_of, ways_of, what_would_do
from bnfold.report.wording import whole

_LONGEST_EVIDENCE = 120
_ARROWS = {"upstream": "\u2190", "downstream": "\u2192"}


def kept_batch_norms(subject: Subject) -> str:
    """BatchNorms that stay."""
    return _groups(subject, [entry for entry in subject.entries if entry.node.is_batch_norm])


def kept_others(subject: Subject) -> str:
    """Other affine nodes that stay."""
    return _groups(subject, [entry for entry in subject.entries if not entry.node.is_batch_norm])


def _groups(subject: Subject, entries: Sequence[Entry]) -> str:
    nodes = [entry.node for entry in entries if isinstance(entry.node, Kept)]
    return "".join(_group(subject, group) for group in group_by_fate(nodes))


def _group(subject: Subject, nodes: Sequence[Kept]) -> str:
    first = nodes[0]
    why = "".join(f"<li>{reason}</li>" for reason in reasons(first, subject.prefix))
    summary = (
        f'<span class="count">{whole(len(nodes))}</span>{draw(nameless(closed_ways(first)))}'
        f'<ul class="reasons">{why}</ul>'
    )
    hints = dict.fromkeys(refusal.hint for node in nodes for refusal in ways_of(node) if refusal.hint)
    notes = "".join(f'<p class="quiet">{text(hint)}</p>\n' for hint in hints)
    said = f'<p class="quiet">{text(verdict_of(first).capitalize())}.</p>\n{notes}'
    content = rows(("node", "because"), (_row(subject, subject.by_node[id(node)]) for node in nodes))
    return disclosure(summary, said + content, kind="group")


def _row(subject: Subject, entry: Entry) -> str:
    kept = entry.node
    assert isinstance(kept, Kept)
    codes = [refusal.reason.code for refusal in kept.refusals]
    because = middle_elided(ways_of(kept)[0].evidence if ways_of(kept) else "", _LONGEST_EVIDENCE)
    if not subject.is_in_detail:
        return row(entry, (because,), "", codes)
    drawn = f'<div class="drawn"><figure>{draw(closed_ways(kept))}</figure></div>'
    ways = "".join(f"<li>{refusal_in_full(refusal, subject.prefix)}</li>" for refusal in kept.refusals)
    if kept.not_lowered is not None:
        ways += f"<li>not lowered: {refusal_in_full(kept.not_lowered, subject.prefix)}</li>"
    if kept.would_do is not None:
        ways += f"<li>instead: {text(what_would_do([kept]))}</li>"
    return row(entry, (because,), f'{drawn}<ul class="ways">{ways}</ul>', codes)


def refusal_in_full(refusal: Refusal, prefix: str) -> str:
    """Its code, its way with all nodes on it, and the evidence, as HTML."""
    arrow = _ARROWS.get(refusal.way, "\u2013")
    path = " ".join(f"{arrow} {called(label)}" for label in refusal.path[1:])
    way = f"<i>{refusal.way}</i> " if refusal.way else ""
    return f'{code(refusal.reason.code, prefix)} {way}<span class="path">{text(path)}</span> {text(refusal.evidence)}'


def apart(found: Sequence[Apart]) -> str:
    """Sums of which the branches stay apart; nothing where there are none."""
    columns = (("sum", "name"), ("code", ""), ("path", "name"), ("because", ""))
    return table(
        columns,
        [
            (called(entry.node), refusal.reason.code, all_called(refusal.path), refusal.evidence)
            for entry in found
            for refusal in entry.refusals
        ],
    )
