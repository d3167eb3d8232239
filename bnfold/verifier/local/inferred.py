"""Which map leads from what a tensor holds in the new model to what it holds in the original, if one does.

What is read off here is only proposed: it is put to the test where the tensor is made and where it is read
(`bnfold.verifier.local.ends`), and can excuse nothing.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import chain, islice
from typing import Any, TypeAlias

import numpy as np

from bnfold.verifier.local.ends import HALF_UNIT
from bnfold.verifier.local.half_units import is_number
from bnfold.verifier.local.law import Comparator, Subgraph
from bnfold.verifier.local.rows import WIDE
from bnfold.verifier.models.held import Array, Held, Map

Made: TypeAlias = tuple[Array, Array]
"""Of random values, and of zeros."""
Values: TypeAlias = tuple[Sequence[Any], int]
"""What both parts are given, and how many groups of samples lie in it one behind the other."""

_CLOSE = 1e-4
"""Of the largest value of a channel: far above what rounding of float32 weights does, far below another function."""
_CONSTANT = 2.0**-40
_TOKENS = 3
_DRAWS, _MORE = 2, 3
_ENOUGH = 512
"""Places of a channel, of random values of all magnitudes: one that rests in all of these always rests."""


def infer_held(comparator: Comparator, draws: Iterator[Sequence[Values]]) -> Held | None:
    """What the new model seems to hold where two parts end; None where no map says it.

    Where a channel seems to be a constant at few places, values of several draws say whether it is one: behind an
    activation, most may be dead on few.

    Its numbers may be off by what moves them when stored ones are rounded another way: those of the new part, and those
    of the original's that met in them, since folds store numbers on their way. It is half a unit of the last place at
    least. What cannot be told from a shift of 0 or a scale of 1 was meant to be that.

    Args:
        comparator: the parts.
        draws: what they begin with, in several draws: random values, and zeros as the last group of the last ones.

    Raises:
        Exception: whatever a part raises where it does not run.
    """
    values = next(draws)
    made = _made_by_both(comparator, values, *comparator.wide)
    found = None if made is None else infer_map(*made)
    if found is not None and found.constants.size and found.places < _ENOUGH:
        several = [*chain.from_iterable(islice(draws, _MORE)), *values]
        more = _made_by_both(comparator, several, *comparator.wide)
        if more is None or not found.has_the_constants_of(more):
            values, made, found = several, more, None if more is None else infer_map(*more)
    if made is None or found is None:
        return None
    scale, shift = found.map.scale, found.map.shift
    off = _off_by(comparator, values, made, found)
    near_one = np.maximum(off.scale, comparator.units * HALF_UNIT)
    is_one, is_none = np.abs(scale - 1) <= near_one, np.abs(shift) <= off.shift
    return Held(
        map=Map(np.where(is_one, 1.0, scale), np.where(is_none, 0.0, shift)),
        step=Map(np.where(is_one, 0.0, off.scale), np.where(is_none, 0.0, off.shift)),
        slack=Map(np.where(is_one, near_one, 0.0), np.where(is_none, off.shift, 0.0)),
        fixed=found.fixed,
        is_lost=found.is_lost,
    )


def _off_by(comparator: Comparator, values: Sequence[Values], made: tuple[Made, Made], found: "Inferred") -> Map:
    """What moves the numbers of a map when stored ones are rounded another way."""
    scale, shift = found.map.scale, found.map.shift
    others = tuple(axis for axis, size in enumerate(shift.shape) if size == 1)
    largest, resting = (np.abs(array).max(others, keepdims=True) for array in made[0])
    off = Map(HALF_UNIT * np.abs(scale), np.maximum(HALF_UNIT * np.maximum(resting, np.abs(shift)), WIDE * largest))
    for draw in range(_DRAWS):
        moved = _made_by_both(comparator, values, comparator.own_draw(draw), comparator.quick_draw(draw))
        to = None if moved is None else _Channels.of(moved, found.axis).map
        if to is not None and to.shift.shape == shift.shape:  # as many channels as before
            off = Map(_larger(off.scale, to.scale - scale), _larger(off.shift, to.shift - shift))
    (*_, (given, groups)) = values
    moves = _moves_at_rest(comparator, given if groups == 1 else [array[-1:] for array in given], scale)
    return Map(off.scale, _larger(off.shift, sum(np.abs(move).max(others, keepdims=True) for move in moves)))


def _moves_at_rest(comparator: Comparator, zeros: Sequence[Any], scale: Array) -> Iterator[Array]:
    """How far a shift moves with each stored array alone: in few draws, the roundings of two may cancel every time."""
    own, theirs = comparator.wide
    x, y = comparator.original(zeros, own), comparator.new(zeros, theirs)
    for stored in _one_by_one(own, comparator.own_draw(0)):
        yield _change(x, comparator.original(zeros, stored))
    for stored in _one_by_one(theirs, comparator.quick_draw(0)):
        yield scale * _change(y, comparator.new(zeros, stored))


def _change(before: Array, after: Array) -> Array:
    """None where it is of another size, as behind a choice of places: that says nothing of a map."""
    return np.asarray(after - before if after.shape == before.shape else np.zeros_like(before))


def _one_by_one(stored: Sequence[Any], moved: Sequence[Any]) -> Iterator[Sequence[Any]]:
    for which, (before, after) in enumerate(zip(stored, moved, strict=True)):
        if after is not before:
            yield [*stored[:which], after, *stored[which + 1 :]]


def _larger(most: Array, change: Array) -> Array:
    return np.asarray(np.maximum(most, np.abs(change)))


def _made_by_both(
    comparator: Comparator, values: Sequence[Values], own: Sequence[Any], theirs: Sequence[Any]
) -> tuple[Made, Made] | None:
    """What both parts make, if that can be compared number by number."""
    x, y = _made(comparator.original, values, own), _made(comparator.new, values, theirs)
    return (x, y) if x is not None and y is not None and _are_alike(*x, *y) else None


def _are_alike(*arrays: Array) -> bool:
    """Whether arrays have one shape with an axis of channels, and numbers in it."""
    one_shape = len({array.shape for array in arrays}) == 1 and arrays[0].ndim > 1
    return one_shape and all(np.isfinite(array).all() for array in arrays)


def _made(run: Subgraph, values: Sequence[Values], stored: Sequence[Any]) -> Made | None:
    """What a part makes of random values, and what of zeros at each place of these; None where that is no number."""
    made: list[Array] = []
    for given, groups in values:
        found = run(given, stored)
        if not is_number(found) or found.ndim == 0 or len(found) % groups:
            return None
        made += np.split(found, groups)
    *random, zeros = made
    if not random or any(entry.shape != zeros.shape for entry in random):
        return None
    return np.concatenate(random), np.concatenate([zeros] * len(random))


@dataclass(frozen=True, eq=False)
class Inferred:
    """What a tensor of the new model seems to hold.

    Attributes:
        axis: of the channels.
        map: y, for the original's x = scale * y + shift.
        fixed: the y of channels that hold a constant in the new model, of the map's shape; NaN of all others. Nothing
            says what other values would stand for.
        is_lost: of these, the ones in which the original holds other values as well.
        places: of a channel, at which that was seen.
    """

    axis: int
    map: Map
    fixed: Array
    is_lost: Array
    places: int

    @property
    def constants(self) -> Array:
        """Which channels are constants in the new model."""
        return np.flatnonzero(~np.isnan(self.fixed))

    def has_the_constants_of(self, made: tuple[Made, Made]) -> bool:
        """Whether these are, and are lost or not, by what both make of other values as well."""
        channels = _Channels.of(made, self.axis, self.constants)
        return not channels.moves_y.any() and np.array_equal(channels.lost, self.is_lost.ravel()[self.constants])


def infer_map(x: Made, y: Made) -> Inferred | None:
    """One number for each channel of a scale and a shift.

    Args:
        x: what the original makes of random values and of zeros, float64, (N, C, ...) or (N, ..., C).
        y: what the new model makes of them, likewise.

    Returns:
        The map, of the tensor's rank; None where there is none.
    """
    if not _are_alike(*x, *y):
        return None
    for axis in (1, -1) if x[0].ndim >= _TOKENS else (1,):
        channels = _Channels.of((x, y), axis)
        if channels.obey:
            return Inferred(axis, channels.map, channels.fixed, channels.shaped(channels.lost), channels.x.shape[1])
    return None


@dataclass(frozen=True, eq=False)
class _Channels:
    """What both make, channel by channel: arrays of (channels, places).

    The scale comes of differences from what zeros make, and the shift of what zeros make themselves: there it is not
    drowned in what large values make.

    Attributes:
        shape: of a map.
        x, resting_x: of random values and of zeros, in the original.
        y, resting_y: in the new model.
    """

    shape: Sequence[int]
    x: Array
    resting_x: Array
    y: Array
    resting_y: Array

    @classmethod
    def of(cls, made: tuple[Made, Made], axis: int, which: Array | slice = slice(None)) -> "_Channels":
        """Along one axis; all of them, or some."""
        table = (np.moveaxis(array, axis, 0)[which] for pair in made for array in pair)
        arrays = [array.reshape(len(array), -1) for array in table]
        shape = [1] * made[0][0].ndim
        shape[axis] = len(arrays[0])
        return cls(shape, *arrays)

    @cached_property
    def moves_x(self) -> Array:
        """Whether a channel is no constant in the original."""
        return _moves(self.x - self.resting_x, self.x)

    @cached_property
    def moves_y(self) -> Array:
        """Whether it is none in the new model."""
        return _moves(self.y - self.resting_y, self.y)

    @property
    def lost(self) -> Array:
        """Whether the new model has a constant where the original has none, or another one at every place.

        Zeros around an image make such of a constant.
        """
        varies = np.ptp(self.resting_x, axis=1) > _CLOSE * np.abs(self.resting_x).max(1)
        return np.asarray((self.moves_x | varies) & ~self.moves_y)

    @cached_property
    def scale(self) -> Array:
        """1 where the new model has a constant."""
        dx, dy = self.x - self.resting_x, self.y - self.resting_y
        with np.errstate(all="ignore"):
            scale = np.where(self.moves_x, (dx * dy).sum(1) / np.square(dy).sum(1), 0.0)
        return np.where(self.moves_y, scale, 1.0)

    @cached_property
    def shifts(self) -> Array:
        """At every place."""
        return np.asarray(self.resting_x - self.scale[:, None] * self.resting_y)

    @property
    def map(self) -> Map:
        """It changes nothing where something is lost."""
        return Map(self.shaped(self.scale), self.shaped(np.where(self.lost, 0.0, self.shifts.mean(1))))

    @property
    def fixed(self) -> Array:
        """As of Inferred."""
        return self.shaped(np.where(self.moves_y, np.nan, self.resting_y.mean(1)))

    @property
    def obey(self) -> bool:
        """Whether one map for each channel says it all, as far as rounding lets it, and something is not lost."""
        shift = self.shifts.mean(1, keepdims=True)
        apart = np.abs(self.x - self.scale[:, None] * self.y - shift).max(1)
        steps = np.abs(self.shifts - shift).max(1)
        sizes = np.maximum(np.abs(self.resting_x), np.abs(self.scale[:, None] * self.resting_y)).max(1)
        wrong = (apart > _CLOSE * np.abs(self.x).max(1)) | (steps > _CLOSE * sizes)
        constants = self.resting_y[~self.moves_y]
        is_one = np.ptp(constants, axis=1) <= _CLOSE * np.abs(constants).max(1)
        return bool(is_one.all() and not (wrong & ~self.lost).any() and not self.lost.all())

    def shaped(self, numbers: Array) -> Array:
        """One number for each channel, in the shape of a map."""
        return numbers.reshape(self.shape)


def _moves(change: Array, values: Array) -> Array:
    return np.asarray(np.abs(change).max(1) > _CONSTANT * np.abs(values).max(1))
