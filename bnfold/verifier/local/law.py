"""What two subgraphs may differ by: what one of them moves when its changed stored numbers are rounded another way.

Both run in float64 on the same values. Every number that the new one has stored, and the original has not, was rounded
once, to its own type. With

- w, (n,): those numbers, and h, (n,): half a unit of the last place of each,
- f(w), (P,): what the new subgraph makes of them in P places of one channel,
- e = f(w) - a, (P,): its difference from what the original makes, a,

a correct fold has e = J (h * u), where J = df/dw, and u, (n,), are rounding errors in half units: independent, of mean
0, |u| <= 1. Each is sub-Gaussian with a parameter of at most 1/2: it is 1/3 where u is uniform, and 1/2 where a number
has one bit more than there is room for (u is 0 or +-1). The covariance S = J h^2 J' is not known, but can be sampled: a
move m_k = f(w + h * s_k) - f(w), with random signs s_k, has the mean square of S. With S estimated by K moves, and for
any x,

    |e|^2 <= 1/2 (tr S + 2 sqrt(x) |S|_F + 2 x |S|_2)    but for a probability of exp(-x)

(Hsu, Kakade and Zhang, A tail inequality for quadratic forms of subgaussian random vectors, 2012). In a channel that
depends on many numbers |e|^2 is hardly more than half of tr S; where all hangs on one direction, e may be six times its
root mean square. The same for P = 1 limits every single place by the places that move the most. The estimates of |S|_F
and |S|_2 err upwards: K moves span no more than K directions.

Few moves are enough to say yes: a channel passes where its error is at most twice what they do, in the root mean
square and in the largest place. Only in doubt there are more of them, and the limit above. With x = 30 it is
exceeded once in 1e13 channels; a check compares some 1e7.

Numbers with the same digits (equal ones, and their multiples by powers of two) have the same rounding error, and so
they move together: a kernel of equal weights is off by the sum of its errors.

Where impulses bring single numbers to an output, each is held to its own half unit, if its type is narrow; in float32
and float64, where it may have been computed in its own type, to sixteen units of its last place.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from bnfold.verifier.local.half_units import is_narrow, is_number, moved, moved_quickly, nudged, wide
from bnfold.verifier.local.rows import WIDE, Finding, Rows, in_rows, ratio
from bnfold.verifier.models.graph import same_bits

Array: TypeAlias = npt.NDArray[Any]
Subgraph: TypeAlias = Callable[[Sequence[Any], Sequence[Any]], Any]
"""Takes what it is given and what it has stored, floating-point numbers as float64 and complex ones as complex128, and
makes one array, or any other value. It must not write to what it takes."""

# How many moves are looked at in turn.
_QUICK_STAGES = (1, 4, 16)
_STAGES = (4, 16, 64)
_AXES_OF_TOKENS = (1, 2)  # of three axes, the last one holds the channels as often
_DRAWS_OF_SINGLES = 24
_KEPT = 4  # and no more, for all runs on impulses
_MOST_KEPT = 2**24  # numbers of them: 128 MiB; one draw is kept in any case
_UNITS_OF_SINGLES = 8.0  # times as many as are usual
# Of the largest value beside it: a number of float32 may have been a larger one when it was rounded, between two folds.
_ROUNDED_LARGER = 2.0**-23
# In units of that limit in doubt: no number of further moves makes up for it.
_BEYOND = 100.0
_SINGLE = 1.02
# Two impulses of one part are as one number where no move changes their sum by more.
_ALONE = 0.01
_NOISE_FACTOR = 4.0
# What moves may hold at once, in numbers of float64: 1 GiB.
_MOST_NUMBERS = 2**27


@dataclass(frozen=True)
class Comparator:
    """Two subgraphs, ready to run.

    Attributes:
        original: of the original model.
        new: of the new one.
        stored: what either has stored, each array in its own type.
        changed: which of the new one's stored arrays the original subgraph has not.
        units: by how many half units a number of float32 or float64 may be off: one where it was rounded once, more
            where it may have been computed in its own type. Narrower ones were rounded once.
        least: differences that say nothing.
        crossed: whether maps lie between them, so that numbers of several folds met, each rounded when it was stored.
    """

    original: Subgraph
    new: Subgraph
    stored: tuple[Sequence[Any], Sequence[Any]]
    changed: Sequence[bool]
    units: float = 1.0
    least: float = 0.0
    crossed: bool = False

    def compare(self, given: Sequence[Any], *, groups: int = 1, quick: bool = False) -> Finding:
        """Compare channel by channel.

        Args:
            given: what both begin with, arrays of float64.
            groups: so many groups of equal length lie one behind the other on the first axis of what is made, such as
                values of other magnitudes. Each is judged by itself.
            quick: say no without looking further where the two are nowhere near.

        Raises:
            Exception: whatever a subgraph raises where it does not run.
        """
        with np.errstate(all="ignore"):
            expected, got = self._run(given)
            unlike = _unlike(expected, got)
            if unlike is not None:
                return unlike
            worst = Finding(0.0)
            for axis in _AXES_OF_TOKENS if expected.ndim == len(_AXES_OF_TOKENS) + 1 else _AXES_OF_TOKENS[:1]:
                made = _Made(self, given, (expected, got), groups, axis)
                if quick and made.rows.far.any():
                    return made.rows.finding(np.where(made.rows.far, math.inf, 0.0))
                worst = max(replace(_doubted(made), axis=axis), worst, key=lambda found: found.excess)
                if worst.excess > 1:
                    break
        return worst

    def compare_singles(self, given: Sequence[Any]) -> Finding:
        """Compare every place in which a single changed number is seen; arguments and errors as those of `compare`."""
        with np.errstate(all="ignore"):
            expected, got = self._run(given)
            unlike = _unlike(expected, got)
            if unlike is not None:
                return unlike
            if is_number(expected):  # most often, one move says all
                other = self.new(given, self.single_draw(0))
                reach = _SINGLE * np.abs(other - got) if other.shape == got.shape else 0.0
                if np.all(np.abs(got - expected) <= reach + WIDE * np.abs(expected)):
                    return Finding(0.0)
            return _by_singles(_Made(self, given, (expected, got)))

    def _run(self, given: Sequence[Any]) -> tuple[Any, Any]:
        own, theirs = self.wide
        return self.original(given, own), self.new(given, theirs)

    @cached_property
    def wide(self) -> tuple[Sequence[Any], Sequence[Any]]:
        """What either has stored, in float64."""
        own, theirs = ([wide(held) for held in side] for side in self.stored)
        return own, theirs

    def moved(self, move: Callable[[Array, int, float], Array], units: float) -> list[Any]:
        """What the new one has stored, every changed number moved.

        Args:
            move: an array in its own type; which one; by how many half units.
            units: of float32 and float64.
        """
        pairs = zip(self.wide[1], self.stored[1], self.changed, strict=True)
        return [
            move(own, which, 1.0 if is_narrow(own) else units) if changed and is_number(own) else held
            for which, (held, own, changed) in enumerate(pairs)
        ]

    def draw(self, draw: int) -> list[Any]:
        """What the new one has stored, every changed number by half a unit of its last place up or down."""
        return self.moved(lambda stored, which, units: moved(stored, draw, which, units), self.units)

    def quick_draw(self, draw: int) -> list[Any]:
        """The same by signs that take no time to draw."""
        return self.moved(lambda stored, which, units: moved_quickly(stored, draw, which, units), self.units)

    @cached_property
    def taken_up(self) -> Sequence[int]:
        """Which of the original's stored numbers went into those of the new one: it has none like them."""
        kept = [held for held in self.stored[1] if is_number(held)]
        numbers = ((which, held) for which, held in enumerate(self.stored[0]) if is_number(held))
        return [which for which, held in numbers if not any(same_bits(held, other) for other in kept)]

    def own_draw(self, draw: int) -> list[Any]:
        """What the original has stored, every number that was taken up moved as far as roundings on its way may do."""
        own = list(self.wide[0])
        for which in self.taken_up:
            own[which] = moved_quickly(self.stored[0][which], draw, which, self.units)
        return own

    def nudged_own(self, draw: int) -> list[Any]:
        """What the original has stored, moved by as much as float64 does, and by what folds rounded on the way."""
        return nudged(self.own_draw(draw) if self.crossed else self.wide[0], draw, WIDE)

    def single_draw(self, draw: int) -> list[Any]:
        """What the new one has stored, every changed number moved as far as a single one may be off."""

        def move(stored: Array, which: int, units: float) -> Array:
            return (moved if is_narrow(stored) else moved_quickly)(stored, draw, which, units)

        found = self._kept.get(draw) or self.moved(move, _UNITS_OF_SINGLES * self.units)
        if draw < self._keeps:
            self._kept[draw] = found
        return found

    @cached_property
    def _keeps(self) -> int:
        numbers = sum(
            own.size for own, is_new in zip(self.stored[1], self.changed, strict=True) if is_new and is_number(own)
        )
        return max(1, min(_KEPT, int(_MOST_KEPT // max(1, numbers))))

    @cached_property
    def _kept(self) -> dict[int, list[Any]]:
        """Draws for all runs on impulses."""
        return {}


@dataclass(frozen=True)
class _Made:
    """What both have made of some values, and what else the new subgraph makes of them.

    Attributes:
        of: the subgraphs.
        given: the values.
        made: by either.
        groups: of the rows.
        axis: of the channels.
    """

    of: Comparator
    given: Sequence[Any]
    made: tuple[Array, Array]
    groups: int = 1
    axis: int = 1

    @cached_property
    def rows(self) -> Rows:
        """What was made."""
        a, b = (in_rows(made, self.groups, self.axis) for made in self.made)
        return Rows.of(a, b, len(a) // self.groups, self.of.least)

    def _apart(self, other: object, rows: Array) -> Array:
        """How far something else that a subgraph made is from what it made first: from another size, any way."""
        if not isinstance(other, np.ndarray) or other.shape != self.made[0].shape:
            return np.full(rows.shape, np.inf)
        found = in_rows(other, self.groups, self.axis)
        apart = found - rows
        if not np.isfinite(apart).all():
            np.nan_to_num(apart, copy=False, nan=0.0, posinf=0.0, neginf=0.0)
        return np.asarray(apart)

    def move(self, draw: int) -> Array:
        """How far it moves with every changed number by half a unit of its last place up or down, (rows, places)."""
        return self._apart(self.of.new(self.given, self.of.draw(draw)), self.rows.b)

    def quick_move(self, draw: int) -> Array:
        """The same by signs that take no time to draw."""
        return self._apart(self.of.new(self.given, self.of.quick_draw(draw)), self.rows.b)

    def single_move(self, draw: int) -> Array:
        """How far it moves with every changed number as far as a single one may be off."""
        return self._apart(self.of.new(self.given, self.of.single_draw(draw)), self.rows.b)

    def floor(self) -> Array:
        """What float64 itself may do to any place, and what folds did that stored numbers on their way, (rows,)."""
        apart = []
        for draw in range(2):
            given = nudged(self.given, draw, WIDE)
            # One set of weights at a time: they may be large.
            apart.append(self._apart(self.of.original(given, self.of.nudged_own(draw)), self.rows.a))
            apart.append(self._apart(self.of.new(given, nudged(self.of.wide[1], draw, WIDE)), self.rows.b))
        return np.asarray(self.rows.floor + _NOISE_FACTOR * np.abs(apart).max((0, 2)))


def _doubted(made: _Made) -> Finding:
    """Look at more and more moves of the channels that are in doubt: quick ones first, then those of the law."""
    rows = made.rows
    excess, kept = np.full(len(rows.a), np.inf), np.arange(len(rows.a))
    if not rows.largest.any():
        return rows.finding(np.zeros(len(rows.a)))
    floor = rows.floor
    for move, stages in ((made.quick_move, _QUICK_STAGES), (made.move, _STAGES)):
        moves: list[Array] = []
        for count in stages:
            affordable = max(len(moves), _MOST_NUMBERS // rows.a[kept].size)
            moves += [move(draw)[kept] for draw in range(len(moves), min(count, affordable))]
            doubtful, seen = rows.only(kept), np.stack(moves)
            judge = doubtful.limit_excess if count == _STAGES[-1] else doubtful.excess
            excess[kept] = judge(seen, floor[kept])
            wrong = excess[kept] > 1
            if not wrong.any() or (stages is _STAGES and (excess[kept] > _BEYOND).any()):
                return rows.finding(excess)
            kept, moves = kept[wrong], [rest[wrong] for rest in moves]
            if floor is rows.floor and count > 1:  # a single move is too few, and some more cost less than this
                floor = made.floor()
    return rows.finding(excess)


def _by_singles(made: _Made) -> Finding:
    """Look at moves until no place is in doubt, or it is known in which of them moves are of no more than two sizes."""
    rows = made.rows
    larger = np.zeros((len(rows.a), 1))
    if not any(is_narrow(held) for held, changed in zip(made.of.stored[1], made.of.changed, strict=True) if changed):
        larger = _ROUNDED_LARGER * np.abs(rows.a).max(1)[:, None]
    error, floor = np.abs(rows.error), rows.floor[:, None] + larger
    sizes: list[Array] = []
    for draw in range(_KEPT):
        sizes.append(np.abs(made.single_move(draw)))
        ratios = ratio(error, _SINGLE * np.max(sizes, axis=0) + floor)
        if draw == 0 and (ratios > 1).any():  # what else float64 and folds did takes longer to know
            floor = made.floor()[:, None] + larger
            ratios = ratio(error, _SINGLE * sizes[0] + floor)
        doubtful = ratios > 1
        if not doubtful.any():
            return rows.finding(ratios.max(1))
    further = (np.abs(made.single_move(draw))[doubtful] for draw in range(_KEPT, _DRAWS_OF_SINGLES))
    seen = np.stack([*(size[doubtful] for size in sizes), *further])
    most, least = seen.max(0), seen.min(0)
    # One number moves a place by one size; two numbers by the sum of theirs, or by the difference.
    known = np.all((most - seen <= _ALONE * most) | (seen - least <= _ALONE * most), axis=0)
    allowed = _SINGLE * most + np.broadcast_to(floor, error.shape)[doubtful]
    ratios[doubtful] = np.where(known, ratio(error[doubtful], allowed), 0.0)
    return rows.finding(ratios.max(1))


def _unlike(expected: object, got: object) -> Finding | None:
    """What is wrong before any arithmetic; subgraphs that make no array make equal values or not."""
    if not isinstance(expected, np.ndarray) or not isinstance(got, np.ndarray):
        return Finding(0.0 if _plainly_equal(expected, got) else math.inf)
    if expected.shape != got.shape or expected.dtype != got.dtype:
        return Finding(math.inf)
    if not (is_number(expected) or expected.dtype.kind in "biu"):  # text
        return Finding(0.0 if np.array_equal(expected, got) else math.inf)
    if expected.size == 0:
        return Finding(0.0)
    return None if np.array_equal(np.isnan(expected), np.isnan(got)) else Finding(math.inf)


def _plainly_equal(a: object, b: object) -> bool:
    if isinstance(a, np.ndarray) or isinstance(b, np.ndarray):
        alike = isinstance(a, np.ndarray) and isinstance(b, np.ndarray) and a.dtype == b.dtype
        return alike and np.array_equal(a, b)  # type: ignore[arg-type]
    if isinstance(a, (list, tuple)) and isinstance(b, (list, tuple)):
        return len(a) == len(b) and all(map(_plainly_equal, a, b))
    return type(a) is type(b) and a == b
