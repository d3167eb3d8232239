"""Single large numbers among zeros, placed so that each brings one weight to each output that it reaches.

A channel is read when an impulse has stood in it at such places that every weight of the kernel met it. Where there is
room, those are as many neighbouring places as outputs are apart, away from the border; else, all places. An impulse
stands alone in a block that is so long that no output sees two, but for those in other groups of channels.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from math import prod

import numpy as np

from bnfold.verifier.compare.channels import Array
from bnfold.verifier.local.readable import Readable
from bnfold.verifier.local.receptive_field import Window

HEIGHT = 256.0
_MOST_RUNS = 64


@dataclass(frozen=True)
class _Axis:
    """Where impulses may stand on one axis.

    Attributes:
        blocks: where blocks begin. Each holds one impulse at a time.
        offsets: where in a block an impulse has to stand, one time or another.
    """

    blocks: range
    offsets: range


class Impulses:
    """Impulses for one site.

    Args:
        entry: the site.
        like: values of its source, for shape and type.
        places: where each value of the contracted tensor stands in the source.
    """

    def __init__(self, entry: Readable, like: Array, places: Array) -> None:
        self.like = like
        self._bends, self._places = entry.bends, places
        self._channels_last = [0, *range(2, places.ndim), 1] if entry.windows else list(range(places.ndim))
        shape = [places.shape[axis] for axis in self._channels_last]
        self._groups, self._channels = entry.groups, shape[-1] // entry.groups
        if entry.windows:
            inside = [_axis(length, window) for length, window in zip(shape[1:-1], entry.windows, strict=True)]
            self._axes = [_rows(shape[0]), *inside]
        else:
            self._axes = [_rows(length) for length in shape[:-1]]

    @classmethod
    def of(cls, entry: Readable, like: Array) -> "Impulses | None":
        """For a source of one shape; None where the moves do not take it."""
        places = entry.moves.places(like.shape)
        return None if places is None else cls(entry, like, places)

    @cached_property
    def runs(self) -> int:
        """How many sets of impulses it takes to bring out every weight."""
        return -(-prod(self._tasks) // prod(self._slots)) if prod(self._slots) else 0

    def pairs(self) -> Iterator[tuple[Array, Array]]:
        """Values for the source, and others that are larger by HEIGHT at some places.

        All that are needed, or as many as a few dozen runs can take. Behind a bend, both are on one side of it.
        """
        for run in range(min(self.runs, _MOST_RUNS)):
            values = self._set(run)
            if self._bends:
                yield values, 2 * values
                yield -2 * values, -values
            else:
                yield np.zeros_like(values), values

    @property
    def _tasks(self) -> tuple[int, ...]:
        """Each channel of a group with each offset on each axis."""
        return (*(len(axis.offsets) for axis in self._axes), self._channels)

    @property
    def _slots(self) -> tuple[int, ...]:
        return tuple(len(axis.blocks) for axis in self._axes)

    def _set(self, run: int) -> Array:
        slots = np.arange(prod(self._slots))
        tasks = (run * len(slots) + slots) % prod(self._tasks)
        *offsets, channels = np.unravel_index(tasks, self._tasks)
        blocks = np.unravel_index(slots, self._slots) if self._slots else ()
        standing = [
            np.asarray(axis.blocks)[block] + np.asarray(axis.offsets)[offset]
            for axis, block, offset in zip(self._axes, blocks, offsets, strict=True)
        ]
        values = np.zeros(self.like.size, self.like.dtype)
        for group in range(self._groups):
            chosen = (*standing, channels + group * self._channels)
            values[self._places.transpose(self._channels_last)[chosen]] = HEIGHT
        return values.reshape(self.like.shape)


def _rows(length: int) -> _Axis:
    """An axis every place of which is a matter of its own."""
    return _Axis(range(length), range(1))


def _axis(length: int, window: Window) -> _Axis:
    first, end = window.length - 1, length - (window.length - 1) - (window.stride - 1)
    if end - first < window.stride:
        return _Axis(range(1), range(length))
    step = -(-(window.length + window.stride - 1) // window.stride) * window.stride
    return _Axis(range(first, end - window.stride + 1, step), range(window.stride))
