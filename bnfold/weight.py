"""A weight: the numbers as they are stored, and the factors that folding has put on them, not yet multiplied out.

In float64 a weight takes twice the memory of its file, and memory that is new to a process costs more than arithmetic.
So what folding asks of a weight is found out row by row, in pieces that stay in the processor's cache. What a factor
of a row makes of that follows from what it was before. `array` multiplies out, for who needs all numbers at once.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from math import prod

import numpy as np
import numpy.typing as npt

from bnfold.affine import Array

AnyArray = npt.NDArray[np.generic]

_NUMBERS_IN_CACHE = 2**15
_NATIVE = (np.dtype(np.float32), np.dtype(np.float64))


@dataclass(frozen=True, eq=False)
class Rows:
    """What is known of each output channel.

    Attributes:
        highest: (groups * outputs,), the largest number, at least 0; NaN where one is.
        lowest: (groups * outputs,), the smallest number, at most 0; NaN where one is.
    """

    highest: Array
    lowest: Array

    @cached_property
    def largest(self) -> Array:
        """(groups * outputs,), the largest absolute value; NaN where a number is."""
        return np.maximum(self.highest, -self.lowest)

    def times(self, factors: Array) -> "Rows":
        """The same of rows that are multiplied; exact, since rounding keeps the order of numbers.

        Args:
            factors: (groups * outputs,).
        """
        with np.errstate(over="ignore", under="ignore", invalid="ignore"):
            one, other = self.highest * factors, self.lowest * factors
            return Rows(np.maximum(one, other), np.minimum(one, other))


class Weight:
    """Numbers of shape (groups, outputs, inputs, *kernel), exact in float64.

    Args:
        stored: in any floating-point type. Nobody may change it.
        factors: multiplied onto it in this order, in float64; of its rank, each dimension 1 or that of the weight.

    Attributes:
        shape: of the weight.
    """

    def __init__(self, stored: AnyArray, factors: tuple[Array, ...] = ()) -> None:
        self.shape: tuple[int, ...] = stored.shape
        self._stored = stored
        self._factors = factors
        self._before: Weight | None = None
        self._applied: dict[bytes, Array] = {}

    @property
    def ndim(self) -> int:
        """The number of axes."""
        return len(self.shape)

    @property
    def size(self) -> int:
        """How many numbers there are."""
        return int(self._stored.size)

    @property
    def channels(self) -> int:
        """How many rows there are: groups * outputs."""
        return self.shape[0] * self.shape[1]

    @cached_property
    def array(self) -> Array:
        """All numbers at once, float64."""
        if not self._factors:
            return self._stored.astype(np.float64, copy=False)
        numbers = self._stored.astype(np.float64)
        for factor in self._factors:
            numbers *= factor
        return numbers

    def applied_to(self, inputs: Array) -> Array:
        """What inputs become that are the same everywhere in a channel: (groups * outputs,).

        It is remembered: each way out of a BatchNorm sends the same shift through the same weights.

        Args:
            inputs: (groups, 1, inputs, *ones), float64.
        """
        key = inputs.tobytes()
        if key not in self._applied:
            self._applied[key] = (self.array * inputs).sum(axis=tuple(range(2, self.ndim))).reshape(-1)
        return self._applied[key]

    def times(self, factor: Array) -> "Weight":
        """The same weight with one more factor, of its rank."""
        scaled = Weight(self._stored, (*self._factors, factor))
        scaled._before = self
        return scaled

    @cached_property
    def rows(self) -> Rows:
        """What is known of each row."""
        factors = self._factors_of_rows
        if self._before is not None and factors is not None:
            return self._before.rows.times(factors)
        if not self._factors and self._stored.dtype in _NATIVE:
            flat = self._stored.reshape(self.channels, prod(self.shape[2:]))
            return Rows(
                flat.max(axis=1, initial=0.0).astype(np.float64), flat.min(axis=1, initial=0.0).astype(np.float64)
            )
        return self._passed_over[0]

    @cached_property
    def squares_of_rows(self) -> Array:
        """(groups * outputs,), the sum of squares of each row."""
        factors = self._factors_of_rows
        if self._before is not None and factors is not None:
            with np.errstate(over="ignore", under="ignore", invalid="ignore"):
                scaled: Array = self._before.squares_of_rows * np.square(factors)
            return scaled
        return self._passed_over[1]

    @cached_property
    def _passed_over(self) -> tuple[Rows, Array]:
        """`rows` and `squares_of_rows` of one pass over all numbers: a fold asks for both."""
        found, squares = Rows(*np.zeros((2, self.channels))), np.zeros(self.channels)
        for some, numbers in self.pieces():
            flat = numbers.reshape(len(numbers), prod(self.shape[2:]))
            found.highest[some] = flat.max(axis=1, initial=0.0)
            found.lowest[some] = flat.min(axis=1, initial=0.0)
            squares[some] = np.einsum("ij,ij->i", flat, flat)
        return found, squares

    @property
    def _factors_of_rows(self) -> Array | None:
        """The last factor, if it is one number for each row; None otherwise."""
        if not self._factors or self._factors[-1].size != prod(self._factors[-1].shape[:2]):
            return None
        factor = self._factors[-1]
        return np.broadcast_to(factor.reshape(factor.shape[:2]), self.shape[:2]).reshape(-1)

    @cached_property
    def squares_of_inputs(self) -> Array:
        """(groups, inputs), the sum of squares of all numbers that an input channel meets."""
        groups, _, inputs = self.shape[:3]
        if self._before is not None and self._factors[-1].size == prod(self._factors[-1].shape[0:3:2]):
            factor = self._factors[-1].reshape(self._factors[-1].shape[0:3:2])
            return self._before.squares_of_inputs * np.square(factor)
        found = np.zeros((groups, inputs))
        group = np.arange(self.channels) // max(1, self.shape[1])
        for some, numbers in self.pieces():
            flat = numbers.reshape(len(numbers), inputs, prod(self.shape[3:]))
            np.add.at(found, group[some], np.einsum("rik,rik->ri", flat, flat))
        return found

    def pieces(self) -> Iterator[tuple[slice, Array]]:
        """The rows in their order, some at a time: which ones, and their numbers, float64 and good until the next."""
        rows = self._stored.reshape(self.channels, *self.shape[2:])
        factors = [_per_row(factor, self.shape) for factor in self._factors]
        together = max(1, _NUMBERS_IN_CACHE // max(1, rows[:1].size))
        room = np.empty((min(together, self.channels), *self.shape[2:]))
        for start in range(0, self.channels, together):
            some = slice(start, start + together)
            stored = rows[some]
            numbers = room[: len(stored)]
            numbers[...] = stored
            for factor in factors:
                numbers *= factor if len(factor) == 1 else factor[some]
            yield some, numbers


def _per_row(factor: Array, shape: tuple[int, ...]) -> Array:
    """(groups * outputs or 1, ...) of a factor of a weight of this shape."""
    if factor.shape[:2] == (1, 1):
        return factor.reshape(1, *factor.shape[2:])
    wide = np.broadcast_to(factor, (*shape[:2], *factor.shape[2:]))
    return wide.reshape(shape[0] * shape[1], *factor.shape[2:])
