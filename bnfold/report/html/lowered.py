"""The BatchNorms that could not be folded, and that other operators stand for now."""

from collections.abc import Sequence

from bnfold.outcome import Lowered
from bnfold.report.html.chains import draw
from bnfold.report.html.drawings import before_and_lowered, nameless
from bnfold.report.html.entries import Entry, Subject
from bnfold.report.html.kept import refusal_in_full
from bnfold.report.html.markup import disclosure, middle_elided
from bnfold.report.html.rows import row, rows
from bnfold.report.wording import whole

_LONGEST_EVIDENCE = 120


def lowered(subject: Subject) -> str:
    """Groups of what looks alike; nothing where nothing was lowered."""
    groups: dict[str, list[Entry]] = {}
    for entry in subject.entries:
        if isinstance(entry.node, Lowered):
            before, after = map(nameless, before_and_lowered(entry.node))
            groups.setdefault(f"{before.described} {after.described}", []).append(entry)
    return "".join(_group(subject, members) for members in sorted(groups.values(), key=len, reverse=True))


def _group(subject: Subject, members: Sequence[Entry]) -> str:
    node = members[0].node
    assert isinstance(node, Lowered)
    before, after = map(nameless, before_and_lowered(node))
    summary = (
        f'<span class="count">{whole(len(members))}</span>'
        f'<span class="pair">{draw(before)}<span class="to">\u2192</span>{draw(after)}</span>'
    )
    content = rows(("node", "not folded because"), (_row(subject, entry) for entry in members))
    return disclosure(summary, content, kind="group")


def _row(subject: Subject, entry: Entry) -> str:
    node = entry.node
    assert isinstance(node, Lowered)
    because = middle_elided(node.refusals[0].evidence, _LONGEST_EVIDENCE)
    ways = "".join(f"<li>{refusal_in_full(refusal, subject.prefix)}</li>" for refusal in node.refusals)
    content = f'<ul class="ways">{ways}</ul>' if subject.is_in_detail else ""
    return row(entry, (because,), content, [refusal.reason.code for refusal in node.refusals])
