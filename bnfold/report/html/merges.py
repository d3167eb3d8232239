"""Branches that became one operator: a drawing before and after, and what that saved."""

from collections import Counter
from collections.abc import Callable, Sequence

from bnfold.outcome import Merge
from bnfold.report.html.chains import Box, Chain, draw, svg
from bnfold.report.html.drawings import short_operator
from bnfold.report.html.entries import Subject
from bnfold.report.html.markup import definitions, disclosure, text
from bnfold.report.labels import all_called, called, operator_of
from bnfold.report.wording import whole

_LANE, _WIDTH, _BOX = 24, 250, 62
_MOST_LANES = 6


def merges(subject: Subject) -> str:
    """All merges, those that look alike together; nothing where there are none."""
    groups: dict[str, list[Merge]] = {}
    for merge in subject.report.outcome.merges:
        groups.setdefault(_looks(merge), []).append(merge)
    return "".join(_group(members, _in_full if subject.is_in_detail else _in_short) for members in groups.values())


def _looks(merge: Merge) -> str:
    return f"{merge.branches} {_operators(merge)} {operator_of(merge.into)}"


def _operators(merge: Merge) -> str:
    """What was there, without the sum itself: "2 Conv, 1 BatchNormalization"."""
    labels = [label for label in (*merge.gone, merge.into) if label != merge.node or merge.branches == 1]
    found = Counter(short_operator(operator_of(label)) or "node" for label in labels)
    return ", ".join(f"{count} {operator}" if count > 1 else operator for operator, count in found.most_common())


def _group(members: Sequence[Merge], told: Callable[[Merge], str]) -> str:
    first = members[0]
    summary = (
        f'<span class="count">{whole(len(members))}</span><span class="pair">{_branches(first)}'
        f'<span class="to">\u2192</span>{draw(Chain([Box(operator_of(first.into) or "node", role="new")]))}</span>'
    )
    return disclosure(summary, "".join(map(told, members)), kind="group")


def _branches(merge: Merge) -> str:
    """As many lanes as there were branches, from one tensor to one sum; what lies on which of them nobody noted."""
    if merge.branches < 2:
        labels = (*merge.gone, merge.into)
        boxes = [Box(operator_of(label) or label, role="takes" if label == merge.into else "gone") for label in labels]
        return draw(Chain(boxes))
    lanes = min(merge.branches, _MOST_LANES)
    height = lanes * _LANE + 6
    middle = height // 2
    lines = "".join(_lane(index, lanes, middle) for index in range(lanes))
    said = _operators(merge)
    return svg(
        _WIDTH,
        height + 18,
        f"{merge.branches} branches of one tensor and their sum: {said}",
        f'{lines}<circle class="sum" cx="{_WIDTH - 20}" cy="{middle}" r="9"/>'
        f'<text x="{_WIDTH - 20}" y="{middle + 5}">+</text>'
        f'<text class="n" x="{_WIDTH // 2}" y="{height + 12}">{text(said)}</text>',
    )


def _lane(index: int, lanes: int, middle: int) -> str:
    y = 3 + _LANE // 2 + index * _LANE
    left, right = (_WIDTH - 40 - _BOX) // 2, (_WIDTH - 40 + _BOX) // 2
    kind = "takes" if index == 0 else "gone"
    name = "branch" if index < _MOST_LANES - 1 or lanes < _MOST_LANES else "\u2026"
    there = f"M0 {middle}C40 {middle} 40 {y} {left} {y}"
    back = f"M{right} {y}C{right + 40} {y} {_WIDTH - 70} {middle} {_WIDTH - 30} {middle}"
    return (
        f'<path class="a" d="{there}{back}"/>'
        f'<g class="{kind}"><rect x="{left}" y="{y - 9}" width="{_BOX}" height="18" rx="5"/>'
        f'<text x="{(left + right) // 2}" y="{y + 4}">{name}</text></g>'
    )


def _in_short(merge: Merge) -> str:
    return f'<div class="merge">{text(merge.tensor)} <span class="quiet">into {text(called(merge.into))}</span></div>\n'


def _in_full(merge: Merge) -> str:
    changes = (
        ("operators", merge.operators),
        ("multiply-adds a place", merge.multiply_adds),
        ("parameters", merge.parameters),
    )
    return (
        f'<div class="merge"><h4>{text(merge.tensor)}</h4>\n'
        + definitions(
            (
                ("into", called(merge.into)),
                ("gone", all_called(merge.gone)),
                *((name, f"{whole(change.before)} \u2192 {whole(change.after)}") for name, change in changes),
            )
        )
        + "</div>\n"
    )
