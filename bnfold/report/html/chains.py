"""Boxes in a row with arrows between them, as SVG: what all drawings of folds are made of."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from bnfold.report.html.markup import middle_elided, text

Role = Literal["plain", "gone", "takes", "new", "stops"]

_MARK = {"stops": "\u2298 ", "new": "", "gone": "", "takes": "", "plain": ""}
_OPERATOR_WIDTH, _NAME_WIDTH, _NOTE_WIDTH = 7.4, 5.7, 5.8
_MOST_OPERATOR, _MOST_NAME = 20, 22
_MARGIN, _GAP, _LEAST = 22, 30, 54
_MOVES, _NOTES, _ROW = 30, 16, 14


@dataclass(frozen=True)
class Box:
    """One operator.

    Attributes:
        operator: its type.
        name: of the node; empty in drawings of many nodes at once.
        role: plain, gone (in the folded model it is no more), takes (its parameters take the map), new (they have), or
            stops (it is what forbids the move).
        note: a few words below it.
    """

    operator: str
    name: str = ""
    role: Role = "plain"
    note: str = ""

    @property
    def width(self) -> int:
        """Pixels, so that its texts fit."""
        operator = len(middle_elided(self.operator, _MOST_OPERATOR)) + len(_MARK[self.role])
        name = min(len(self.name), _MOST_NAME)
        texts = (operator * _OPERATOR_WIDTH + _MARGIN, name * _NAME_WIDTH + _MARGIN / 2, len(self.note) * _NOTE_WIDTH)
        return round(max(_LEAST, *texts))


@dataclass(frozen=True)
class Chain:
    """Boxes in the order of the graph.

    Attributes:
        boxes: from left to right.
        moves: arcs over them: from which box to which, and what moves.
        asides: other readers of what a box makes, below the row, by the number of that box.
    """

    boxes: Sequence[Box]
    moves: Sequence[tuple[int, int, str]] = ()
    asides: Mapping[int, Box] = field(default_factory=dict)

    @property
    def described(self) -> str:
        """The same in words, for those who do not see it."""
        parts = [", ".join(filter(None, (box.operator, _SAID[box.role]))) for box in self.boxes]
        others = [f"{box.operator} reads what {self.boxes[index].operator} makes" for index, box in self.asides.items()]
        return "; ".join([", then ".join(parts), *others])


_SAID = {
    "plain": "",
    "gone": "which goes",
    "takes": "which takes it",
    "new": "which has it",
    "stops": "which forbids it",
}


def draw(chain: Chain) -> str:
    """The chain as SVG of its natural size."""
    height = 40 if any(box.name for box in (*chain.boxes, *chain.asides.values())) else 26
    top = _MOVES if chain.moves else 2
    lefts = list(_lefts(chain.boxes))
    bottom = top + height + (_NOTES if any(box.note for box in chain.boxes) else 2)
    parts = [_box(box, left, top, height) for box, left in zip(chain.boxes, lefts, strict=True)]
    parts += [
        _arrow(left + box.width, top + height // 2, following)
        for box, left, following in zip(chain.boxes, lefts, lefts[1:], strict=False)
    ]
    parts += [_arc(chain.boxes, lefts, move, top) for move in chain.moves]
    right = lefts[-1] + chain.boxes[-1].width
    for index, box in chain.asides.items():
        start = lefts[index] + chain.boxes[index].width
        left, y = start + _GAP, bottom + _ROW
        parts.append(f'<path class="a" d="M{start} {top + height // 2}h12V{y + height // 2}h14m-5-4l5 4-5 4"/>')
        parts.append(_box(box, left, y, height))
        bottom = y + height + (_NOTES if box.note else 2)
        right = max(right, left + box.width)
    return svg(right, bottom, chain.described, "".join(parts))


def svg(width: int, height: int, described: str, content: str) -> str:
    """A drawing of its natural size, in pixels, with what it shows in words."""
    return (
        f'<svg class="chain" viewBox="-2 0 {width + 4} {height}" width="{width + 4}" height="{height}" role="img" '
        f'aria-label="{text(described)}">{content}</svg>'
    )


def _lefts(boxes: Sequence[Box]) -> Iterator[int]:
    left = 0
    for box in boxes:
        yield left
        left += box.width + _GAP


def _box(box: Box, left: int, top: int, height: int) -> str:
    middle = left + box.width // 2
    operator = _MARK[box.role] + middle_elided(box.operator, _MOST_OPERATOR)
    name = f'<text class="n" x="{middle}" y="{top + 31}">{text(middle_elided(box.name, _MOST_NAME))}</text>'
    note = f'<text class="n" x="{middle}" y="{top + height + 12}">{text(box.note)}</text>'
    return (
        f'<g class="{box.role}"><rect x="{left}" y="{top}" width="{box.width}" height="{height}" rx="6"/>'
        f'<text x="{middle}" y="{top + 17}">{text(operator)}</text>'
        f"{name if box.name else ''}{note if box.note else ''}</g>"
    )


def _arrow(start: int, y: int, end: int) -> str:
    return f'<path class="a" d="M{start + 3} {y}H{end - 4}m-5-4l5 4-5 4"/>'


def _arc(boxes: Sequence[Box], lefts: Sequence[int], move: tuple[int, int, str], top: int) -> str:
    """From the middle of one box to that of another, above the row."""
    start, end = (lefts[index] + boxes[index].width // 2 for index in move[:2])
    middle = (start + end) // 2
    return (
        f'<path class="m" d="M{start} {top - 2}Q{middle} {top - 32} {end} {top - 3}m-2-6l2 6 6-3"/>'
        f'<text class="m" x="{middle}" y="{top - 20}">{text(move[2])}</text>'
    )
