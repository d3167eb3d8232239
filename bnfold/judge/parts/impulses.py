"""Single large numbers among zeros, placed so that each brings one weight to each output that it reaches."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import prod

import numpy as np

from bnfold.judge.channels import Array
from bnfold.judge.parts.readable import Readable

HEIGHT = 256.0
_MOST_RUNS = 64


@dataclass(frozen=True)
class Impulses:
    """Impulses for one site.

    Attributes:
        entry: the site.
        like: values of its source, for shape and type.
        places: where each value of the contracted tensor stands in the source.
    """

    entry: Readable
    like: Array
    places: Array

    @classmethod
    def of(cls, entry: Readable, like: Array) -> "Impulses | None":
        """For a source of one shape; None where the moves do not take it."""
        places = entry.moves.places(like.shape)
        return None if places is None else cls(entry, like, places)

    @property
    def runs(self) -> int:
        """How many sets of impulses it takes to bring out every weight."""
        cells = prod(len(places) for places in self._cells)
        return -(-self._channels // cells) if cells else 0

    def pairs(self) -> Iterator[tuple[Array, Array]]:
        """Values for the source, and others that are larger by HEIGHT at some places.

        All that are needed, or as many as a few dozen runs can take. Behind a bend, both are on one side of it.
        """
        for run in range(min(self.runs, _MOST_RUNS)):
            values = self._set(run)
            if self.entry.bends:
                yield values, 2 * values
                yield -2 * values, -values
            else:
                yield np.zeros_like(values), values

    def _set(self, run: int) -> Array:
        cells = np.stack(np.meshgrid(*self._cells, indexing="ij"), axis=-1)
        cells = cells.reshape(-1, cells.shape[-1])
        channels = (run * len(cells) + np.arange(len(cells))) % self._channels
        chosen = (*cells.T, channels) if not self.entry.apart else (cells.T[0], channels, *cells.T[1:])
        values = np.zeros(self.like.size, self.like.dtype)
        values[self.places[chosen]] = HEIGHT
        return values.reshape(self.like.shape)

    @property
    def _shape(self) -> Sequence[int]:
        return self.places.shape

    @property
    def _channels(self) -> int:
        return self._shape[1] if self.entry.apart else self._shape[-1]

    @property
    def _cells(self) -> list[list[int]]:
        """Places on each axis but that of the channels."""
        if not self.entry.apart:
            return [list(range(length)) for length in self._shape[:-1]]
        spatial = [
            list(range(min(apart // 2, length - 1), length, apart))
            for length, apart in zip(self._shape[2:], self.entry.apart, strict=True)
        ]
        return [list(range(self._shape[0])), *spatial]
