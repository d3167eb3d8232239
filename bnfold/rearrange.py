"""Steps that put the values of a tensor in other places: parameters move as the data moves.

Each step carries the parameters of a map (a scale or a shift, of the tensor's rank, every dimension 1 or full) through
itself: `push` from its input's places to its output's, `pull` back.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from math import prod

import numpy as np
import numpy.typing as npt

from bnfold.affine import Array
from bnfold.refusal import Reason, Refusal
from bnfold.regrouping import MOST_NUMBERS, Dim, regrouped


class Step(ABC):
    """One rearrangement."""

    @abstractmethod
    def push(self, values: Array) -> Array | Refusal:
        """Parameters for the input, as parameters for the output."""

    @abstractmethod
    def pull(self, values: Array, neutral: float) -> Array | Refusal:
        """Parameters for the output, as parameters for the input.

        Args:
            values: of the output's rank.
            neutral: what input places get that the output does not show: 1 for a scale, 0 for a shift.
        """


@dataclass(frozen=True)
class Transposition(Step):
    """Axis i of the output is axis permutation[i] of the input."""

    permutation: tuple[int, ...]

    def push(self, values: Array) -> Array:
        """See Step."""
        return np.transpose(values, self.permutation)

    def pull(self, values: Array, neutral: float) -> Array:  # noqa: ARG002
        """See Step."""
        return np.transpose(values, np.argsort(self.permutation))


@dataclass(frozen=True)
class Regrouping(Step):
    """The same values in row-major order under another shape: Reshape, Flatten, Squeeze, Unsqueeze."""

    source: tuple[Dim, ...]
    target: tuple[Dim, ...]

    def push(self, values: Array) -> Array | Refusal:
        """See Step."""
        return regrouped(values, self.source, self.target)

    def pull(self, values: Array, neutral: float) -> Array | Refusal:  # noqa: ARG002
        """See Step."""
        return regrouped(values, self.target, self.source)


@dataclass(frozen=True)
class Selection(Step):
    """Any places of one axis in any order, each as often as it is named: Slice, Gather, roll, repeat_interleave.

    Attributes:
        axis: of both sides.
        places: of the input, counted from 0, for each place of the output: a range where it is a slice.
        length: of the input on the axis.
    """

    axis: int
    places: Sequence[int]
    length: int

    def push(self, values: Array) -> Array:
        """See Step."""
        return values if values.shape[self.axis] == 1 else values[self._index(values.ndim)]

    def pull(self, values: Array, neutral: float) -> Array | Refusal:
        """See Step. A place that is shown several times takes one map alone.

        What varies nowhere on the axis may as well act on the places that nobody sees.
        """
        if values.shape[self.axis] == 1:
            return values
        whole = self._at_places(values, neutral)
        if np.any(self.push(whole) != values):
            return _varies_along_repetition(self.axis, known=True)
        return whole

    @property
    def leaves_out(self) -> bool:
        """Whether the output does not show all places of the axis."""
        return len(set(self.places)) < self.length

    def confined(self, values: Array, neutral: float) -> Array:
        """Parameters for the input, at the places that the output shows; neutral at others."""
        along = (*values.shape[: self.axis], self.length, *values.shape[self.axis + 1 :])
        if not np.any(values != neutral) or prod(along) > MOST_NUMBERS:
            return values
        return self._at_places(self.push(values), neutral)

    def _at_places(self, values: Array, neutral: float) -> Array:
        """These numbers at the places that the output shows, on the whole axis of the input."""
        shape = list(values.shape)
        shape[self.axis] = self.length
        whole = np.full(shape, neutral)
        whole[self._index(values.ndim)] = values
        return whole

    def _index(self, rank: int) -> tuple[slice | npt.NDArray[np.intp], ...]:
        """The places that the output shows, as numpy asks for them; those in a row without a list of them."""
        index: list[slice | npt.NDArray[np.intp]] = [slice(None)] * rank
        places = self.places
        if isinstance(places, range) and places.step > 0:
            index[self.axis] = slice(places.start, places.stop, places.step)
        else:
            index[self.axis] = np.asarray(places, np.intp)
        return tuple(index)


@dataclass(frozen=True)
class Repetition(Step):
    """Axes of length 1 stretched to another length, and new axes in front: Expand.

    Attributes:
        source: shape of the input, with ones in front up to the output's rank.
        target: shape of the output.
        source_rank: rank of the input.
    """

    source: tuple[Dim, ...]
    target: tuple[Dim, ...]
    source_rank: int

    def push(self, values: Array) -> Array:
        """See Step."""
        return values.reshape((1,) * (len(self.target) - self.source_rank) + values.shape)

    def pull(self, values: Array, neutral: float) -> Array | Refusal:  # noqa: ARG002
        """See Step."""
        for axis, (old, new) in enumerate(zip(self.source, self.target, strict=True)):
            if values.shape[axis] == 1 or (old is not None and old in (new, values.shape[axis])):
                continue
            first = np.take(values, [0], axis=axis)
            if np.any(values != first):
                return _varies_along_repetition(axis, known=isinstance(old, int))
            values = first
        return values.reshape(values.shape[len(self.target) - self.source_rank :])


def _varies_along_repetition(axis: int, *, known: bool) -> Refusal:
    if known:
        return Refusal(Reason.WRONG_AXIS, f"the map varies along axis {axis}, along which values are repeated")
    return Refusal(
        Reason.UNKNOWN_SHAPE,
        f"whether values are repeated along axis {axis}, along which the map varies, is not known before run time",
    )
