"""Figures of all BatchNorms beside one another, in the order of the graph, on a log axis.

A plot is SVG that is stretched to the width of the window, with strokes that are not; its labels stand beside it as
text, so that they are read on a phone as well. Of more nodes than there are columns, neighbours share one, which shows
their extremes.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from bnfold.report.html.markup import text

_HEIGHT = 100
_MOST_LABELS = 6


@dataclass(frozen=True)
class Marks:
    """One series of a plot.

    Attributes:
        name: in the legend.
        kind: the class in the style sheet: dots, dashes, bars or crosses in a colour.
        values: (low, high) for each place, both the same for a point; None where there is nothing to show.
    """

    name: str
    kind: str
    values: Sequence[tuple[float, float] | None]


@dataclass(frozen=True)
class _Axis:
    low: int
    high: int

    def y(self, value: float) -> float:
        """Where a value stands, from the top; what is 0 or below the axis stands at its foot."""
        if value <= 0:
            return _HEIGHT
        share = (math.log10(value) - self.low) / (self.high - self.low)
        return round(_HEIGHT * (1 - min(max(share, 0.0), 1.0)), 1)

    @property
    def decades(self) -> range:
        """Those with a label, the highest first."""
        step = -(-(self.high - self.low) // _MOST_LABELS)
        return range(self.high, self.low - 1, -step)


def plot(series: Sequence[Marks], label: str, columns: int, limit: tuple[float, str] | None = None) -> str:
    """A plot with its axis and legend; nothing where no series has a value.

    Args:
        series: drawn one over the other, all of the same length.
        label: what it shows, for those who do not see it.
        columns: places, at most.
        limit: a value that is marked by a line, and its name.
    """
    values = [value for marks in series for pair in marks.values if pair for value in pair]
    finite = [value for value in values if 0 < value < math.inf]
    if not values:
        return ""
    axis = _axis([*finite, *([limit[0]] if limit else [])])
    places = [_gathered(marks.values, columns) for marks in series]
    width = max(map(len, places))
    lines = "".join(f"M0 {axis.y(10.0**decade)}H{width}" for decade in axis.decades)
    drawn = "".join(
        f'<path class="{marks.kind}" d="{_path(marked, axis)}"/>' for marks, marked in zip(series, places, strict=True)
    )
    mark = f'<path class="limit" d="M0 {axis.y(limit[0])}H{width}"/>' if limit else ""
    return (
        f'<div class="plot"><div class="axis">{_labels(axis)}</div>'
        f'<svg viewBox="0 0 {width} {_HEIGHT}" preserveAspectRatio="none" role="img" aria-label="{text(label)}">'
        f'<path class="grid" d="{lines}"/>{mark}{drawn}</svg></div>\n{_legend(series, limit)}'
    )


def shares(name: str, values: Sequence[float], label: str, columns: int) -> str:
    """A low row of bars, shares of 1 at each place; nothing where all are 0."""
    if not any(values):
        return ""
    places = [high for _, high in filter(None, _gathered([(value, value) for value in values], columns))]
    bars = "".join(
        f"M{_half(index)} {_HEIGHT}V{round(_HEIGHT * (1 - max(share, 0.06)), 1)}"
        for index, share in enumerate(places)
        if share
    )
    return (
        f'<div class="plot shares"><div class="axis"><span>{text(name)}</span></div>'
        f'<svg viewBox="0 0 {len(places)} {_HEIGHT}" preserveAspectRatio="none" role="img" aria-label="{text(label)}">'
        f'<path class="grid" d="M0 {_HEIGHT}H{len(places)}"/><path class="bars" d="{bars}"/></svg></div>\n'
    )


def _axis(values: Iterable[float]) -> _Axis:
    exponents = [math.log10(value) for value in values] or [0.0]
    low, high = math.floor(min(exponents)), math.ceil(max(exponents))
    if low == high:
        high += 1
    step = -(-(high - low) // _MOST_LABELS)
    return _Axis(high - step * -(-(high - low) // step), high)


def _labels(axis: _Axis) -> str:
    return "".join(f"<span>{_decade(decade)}</span>" for decade in axis.decades)


def _decade(exponent: int) -> str:
    return {-2: "0.01", -1: "0.1", 0: "1", 1: "10", 2: "100", 3: "1000"}.get(exponent, f"1e{exponent}")


def _gathered(values: Sequence[tuple[float, float] | None], columns: int) -> list[tuple[float, float] | None]:
    """No more places than there are columns, neighbours together by their extremes."""
    step = -(-len(values) // columns) or 1
    return [_extremes(values[start : start + step]) for start in range(0, len(values), step)]


def _extremes(values: Iterable[tuple[float, float] | None]) -> tuple[float, float] | None:
    there = [pair for pair in values if pair is not None]
    return (min(low for low, _ in there), max(high for _, high in there)) if there else None


def _path(columns: Sequence[tuple[float, float] | None], axis: _Axis) -> str:
    """A stroke from low to high at each place; of a point, one without length, whose round ends are a dot."""
    return "".join(
        f"M{_half(index)} {axis.y(pair[0])}V{axis.y(pair[1])}" for index, pair in enumerate(columns) if pair is not None
    )


def _half(index: int) -> str:
    """The middle of a place."""
    return f"{index}.5"


def _legend(series: Sequence[Marks], limit: tuple[float, str] | None) -> str:
    shown = [(marks.kind, marks.name) for marks in series if any(marks.values)]
    shown += [("limit", limit[1])] if limit else []
    return f'<ul class="legend">\n{"".join(_key(kind, name) for kind, name in shown)}</ul>\n'


def _key(kind: str, name: str) -> str:
    return (
        '<li><svg class="key" viewBox="0 0 20 12" width="20" height="12" aria-hidden="true">'
        f'<path class="{kind}" d="{_KEYS.get(kind, "M10 6V6")}"/></svg>{text(name)}</li>\n'
    )


_KEYS = {"limit": "M0 6H20", "whisker": "M10 1V11", "box": "M10 3V9", "old": "M10 1V11", "range": "M10 1V11"}
