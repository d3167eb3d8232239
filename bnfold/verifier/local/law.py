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

Where impulses bring single numbers of a narrow type to an output, each is held to its own half unit.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from bnfold.verifier.local.half_units import is_narrow, is_number, moved, moved_quickly, nudged, wide

Array: TypeAlias = npt.NDArray[Any]
Subgraph: TypeAlias = Callable[[Sequence[Any], Sequence[Any]], Any]
"""Takes what it is given and what it has stored, floating-point numbers as float64 and complex ones as complex128, and
makes one array, or any other value. It must not write to what it takes."""

# How many moves are looked at in turn.
_QUICK_STAGES = (1, 4, 16)
_STAGES = (4, 16, 64)
_DRAWS_OF_SINGLES = 24
_FEW = 4
_DOUBT = 2.0
_EXPONENT = 30.0
# In units of that limit in doubt: no number of further moves makes up for it.
_BEYOND = 100.0
_SINGLE = 1.02
# Two impulses of one part are as one number where no move changes their sum by more.
_ALONE = 0.01
_NOISE_FACTOR = 4.0
# What float64 itself may do, in units of its arguments: the sum of a few thousand products.
_WIDE = 2.0**-44
# Of max |a|: no rounding does that.
_FAR = 0.05
# What moves may hold at once, in numbers of float64: 1 GiB.
_MOST_NUMBERS = 2**27


@dataclass(frozen=True)
class Finding:
    """How far two subgraphs are from each other, on one set of values.

    Attributes:
        excess: in units of what is allowed; up to 1 is rounding.
        error: the largest |a - b| of the worst channel.
        scale: the largest |a| of that channel.
        channel: which; None where there are none.
        values: there, of the original and of the new subgraph.
        group: which of several.
    """

    excess: float
    error: float = 0.0
    scale: float = 0.0
    channel: int | None = None
    values: tuple[float, float] = (0.0, 0.0)
    group: int = 0


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
    """

    original: Subgraph
    new: Subgraph
    stored: tuple[Sequence[Any], Sequence[Any]]
    changed: Sequence[bool]
    units: float = 1.0
    least: float = 0.0

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
        made = self._make(given, groups)
        if isinstance(made, Finding):
            return made
        with np.errstate(all="ignore"):
            if quick and made.rows.far.any():
                return made.rows.finding(np.where(made.rows.far, math.inf, 0.0))
            return _doubted(made)

    def compare_singles(self, given: Sequence[Any], *, groups: int = 1) -> Finding:
        """Compare every place in which a single changed number is seen; arguments and errors as those of `compare`."""
        made = self._make(given, groups)
        if isinstance(made, Finding):
            return made
        with np.errstate(all="ignore"):
            return _by_singles(made)

    def _make(self, given: Sequence[Any], groups: int) -> "_Made | Finding":
        """Run both; a Finding where that says all."""
        own, theirs = ([wide(held) for held in side] for side in self.stored)
        expected, got = self.original(given, own), self.new(given, theirs)
        unlike = _unlike(expected, got)
        if unlike is not None:
            return unlike
        if expected.size == 0:
            return Finding(0.0)
        channels = expected.shape[1] if expected.ndim > 1 else 1
        rows = _Rows.of(_rows(expected, groups), _rows(got, groups), channels, self.least)
        return _Made(self, given, theirs, groups, rows)


@dataclass(frozen=True)
class _Made:
    """What both have made of some values, and what else the new subgraph makes of them.

    Attributes:
        of: the subgraphs.
        given: the values.
        stored: what the new subgraph has stored, in float64.
        groups: of the rows.
        rows: what was made.
    """

    of: Comparator
    given: Sequence[Any]
    stored: Sequence[Any]
    groups: int
    rows: "_Rows"

    def move(self, draw: int) -> Array:
        """How far it moves with every changed number by half a unit of its last place up or down, (rows, places)."""
        return self._moved(lambda stored, which, units: moved(stored, draw, which, units))

    def quick_move(self, draw: int) -> Array:
        """The same by signs that take no time to draw."""
        return self._moved(lambda stored, which, units: moved_quickly(stored, draw, which, units))

    def _moved(self, move: Callable[[Array, int, float], Array]) -> Array:
        pairs = zip(self.stored, self.of.stored[1], self.of.changed, strict=True)
        others = [
            move(own, which, 1.0 if is_narrow(own) else self.of.units) if changed and is_number(own) else held
            for which, (held, own, changed) in enumerate(pairs)
        ]
        return self._apart(self.given, others)

    def floor(self) -> Array:
        """What float64 itself may do to any place, (rows,)."""
        apart = [self._apart(nudged(self.given, draw, _WIDE), nudged(self.stored, draw, _WIDE)) for draw in range(2)]
        return np.asarray(self.rows.floor + _NOISE_FACTOR * np.abs(apart).max((0, 2)))

    def _apart(self, given: Sequence[Any], stored: Sequence[Any]) -> Array:
        other = self.of.new(given, stored)
        rows = _rows(other, self.groups) if isinstance(other, np.ndarray) else None
        if rows is None or rows.shape != self.rows.b.shape:
            return np.full(self.rows.b.shape, np.inf)
        return np.asarray(np.nan_to_num(rows - self.rows.b, nan=0.0, posinf=0.0, neginf=0.0))


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
            if floor is rows.floor:  # in doubt for the first time
                floor = made.floor()
    return rows.finding(excess)


def _by_singles(made: _Made) -> Finding:
    """Look at moves until no place is in doubt, or it is known in which of them moves are of no more than two sizes."""
    rows = made.rows
    sizes = [np.abs(made.move(draw)) for draw in range(_FEW)]
    ratios = _ratio(np.abs(rows.error), _SINGLE * np.max(sizes, axis=0) + rows.floor[:, None])
    doubtful = ratios > 1
    if not doubtful.any():
        return rows.finding(ratios.max(1))
    further = (np.abs(made.move(draw))[doubtful] for draw in range(_FEW, _DRAWS_OF_SINGLES))
    seen = np.stack([*(size[doubtful] for size in sizes), *further])
    most, least = seen.max(0), seen.min(0)
    # One number moves a place by one size; two numbers by the sum of theirs, or by the difference.
    known = np.all((most - seen <= _ALONE * most) | (seen - least <= _ALONE * most), axis=0)
    floor = np.broadcast_to(made.floor()[:, None], rows.a.shape)[doubtful]
    ratios[doubtful] = np.where(known, _ratio(np.abs(rows.error[doubtful]), _SINGLE * most + floor), 0.0)
    return rows.finding(ratios.max(1))


@dataclass(frozen=True)
class _Rows:
    """What two subgraphs made: one row for each channel of each group.

    Attributes:
        a: of the original, (rows, places), finite.
        b: of the new subgraph, likewise.
        error: b - a, infinite where only one of the two is.
        channels: how many rows a group has; 1 where there is no axis for them.
    """

    a: Array
    b: Array
    error: Array
    channels: int

    @classmethod
    def of(cls, a: Array, b: Array, channels: int, least: float) -> "_Rows":
        """Of values that may be infinite or NaN, with differences of which the least say nothing."""
        with np.errstate(invalid="ignore"):
            error = np.nan_to_num(b - a, nan=0.0, posinf=np.inf, neginf=-np.inf)
        error[np.abs(error) <= least] = 0
        a, b = (np.nan_to_num(values, nan=0.0, posinf=0.0, neginf=0.0) for values in (a, b))
        return cls(a, b, error, channels)

    @cached_property
    def largest(self) -> Array:
        """The largest error of each row."""
        return np.asarray(np.abs(self.error).max(1))

    @cached_property
    def floor(self) -> Array:
        """What float64 may do to a sum of some thousand products of the size of a row's largest value."""
        return np.asarray(_WIDE * np.abs(self.a).max(1))

    @property
    def far(self) -> Array:
        """Where an error is larger than any rounding of what its group holds, (rows,)."""
        scale = np.abs(self.a).max(1).reshape(-1, self.channels).max(1)
        return np.asarray(self.largest > _FAR * np.repeat(scale, self.channels))

    def only(self, chosen: Array) -> "_Rows":
        """Some of the rows."""
        return _Rows(self.a[chosen], self.b[chosen], self.error[chosen], self.channels)

    def excess(self, moves: Array, floor: Array) -> Array:
        """In units of twice what the moves do.

        Args:
            moves: of the new subgraph, (K, rows, places).
            floor: what any place may be off, (rows,).
        """
        peak = _ratio(self.largest, _DOUBT * np.abs(moves).max((0, 2)) + floor)
        spread = _ratio(_root_mean_square(self.error, 1), _DOUBT * _root_mean_square(moves, (0, 2)) + floor)
        return np.maximum(peak, spread)

    def limit_excess(self, moves: Array, floor: Array) -> Array:
        """In units of the limit; arguments as those of `excess`."""
        count, _, places = moves.shape
        # K by K for each row: its eigenvalues are those of the places' covariance.
        gram = np.einsum("krp,lrp->rkl", moves, moves) / (count * places)
        trace, frobenius = np.trace(gram, axis1=1, axis2=2), np.sqrt(np.square(gram).sum((1, 2)))
        spectral = np.linalg.eigvalsh(np.nan_to_num(gram, posinf=0.0))[:, -1]
        spread = _ratio(_root_mean_square(self.error, 1), _limit(trace, frobenius, spectral, _EXPONENT) + floor)
        variance = np.square(moves).mean(0).max(1)
        single = _limit(variance, variance, variance, _EXPONENT + math.log(places))
        # A move that jumps, as a rounding to integers does, explains one jump.
        peak = _ratio(self.largest, np.maximum(single, np.abs(moves).max((0, 2))) + floor)
        return np.maximum(peak, spread)

    def finding(self, excess: Array) -> Finding:
        """The worst row."""
        worst = int(excess.argmax())
        place = int(np.abs(self.error[worst]).argmax())
        return Finding(
            float(excess[worst]),
            float(abs(self.error[worst, place])),
            float(np.abs(self.a[worst]).max()),
            worst % self.channels if self.channels > 1 else None,
            (float(self.a[worst, place]), float(self.b[worst, place])),
            worst // self.channels,
        )


def _limit(trace: Array, frobenius: Array, spectral: Array, exponent: float) -> Array:
    """What |e| exceeds with a probability of exp(-exponent)."""
    return np.asarray(np.sqrt((trace + 2 * math.sqrt(exponent) * frobenius + 2 * exponent * spectral) / 2))


def _unlike(expected: object, got: object) -> Finding | None:
    """What is wrong before any arithmetic; subgraphs that make no array make equal values or not."""
    if not isinstance(expected, np.ndarray) or not isinstance(got, np.ndarray):
        return Finding(0.0 if _plainly_equal(expected, got) else math.inf)
    if expected.shape != got.shape or expected.dtype != got.dtype:
        return Finding(math.inf)
    if not (is_number(expected) or expected.dtype.kind in "biu"):  # text
        return Finding(0.0 if np.array_equal(expected, got) else math.inf)
    return None if np.array_equal(np.isnan(expected), np.isnan(got)) else Finding(math.inf)


def _plainly_equal(a: object, b: object) -> bool:
    if isinstance(a, np.ndarray) or isinstance(b, np.ndarray):
        alike = isinstance(a, np.ndarray) and isinstance(b, np.ndarray) and a.dtype == b.dtype
        return alike and np.array_equal(a, b)  # type: ignore[arg-type]
    if isinstance(a, (list, tuple)) and isinstance(b, (list, tuple)):
        return len(a) == len(b) and all(map(_plainly_equal, a, b))
    return type(a) is type(b) and a == b


def _rows(values: Array, groups: int) -> Array:
    """Channels by places, in float64, group by group; an array of less than two axes is one channel.

    The two parts of complex numbers are places of their own.
    """
    channels = values.shape[1] if values.ndim > 1 else 1
    if values.dtype.kind == "c":
        values = np.stack([values.real, values.imag], axis=-1)
    split = values.astype(np.float64).reshape(groups, -1, channels, math.prod(values.shape[2:]))
    return np.moveaxis(split, 2, 1).reshape(groups * channels, -1)


def _root_mean_square(values: Array, axes: int | tuple[int, ...]) -> Array:
    return np.asarray(np.sqrt(np.square(values).mean(axes)))


def _ratio(part: Array, whole: Array) -> Array:
    return np.nan_to_num(np.where(part > 0, part / whole, 0.0), nan=0.0, posinf=np.inf)
