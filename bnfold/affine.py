"""The value that bnfold moves: an affine map, one scale and one shift for every place of a tensor.

A scale of zero is common after pruning: `Affine.inverse` is the one place that divides by scales, and refuses it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from bnfold.refusal import Reason, Refusal

Array = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Affine:
    """y = scale * x + shift for a tensor x of rank r.

    Attributes:
        scale: float64, rank r, every dimension 1 or that of x.
        shift: the same, in units of y.
    """

    scale: Array
    shift: Array

    def __post_init__(self) -> None:
        if self.scale.ndim != self.shift.ndim:
            raise ValueError(f"scale has rank {self.scale.ndim}, shift has rank {self.shift.ndim}: they must agree")

    @property
    def rank(self) -> int:
        """Rank of the tensor that the map acts on."""
        return self.scale.ndim

    @cached_property
    def has_scale(self) -> bool:
        """Whether any scale differs from 1."""
        return bool((self.scale != 1.0).any())

    @cached_property
    def has_shift(self) -> bool:
        """Whether any shift differs from 0."""
        return bool((self.shift != 0.0).any())

    @cached_property
    def is_identity(self) -> bool:
        """Whether the map changes nothing."""
        return not self.has_scale and not self.has_shift

    @cached_property
    def varying_axes(self) -> tuple[int, ...]:
        """The axes along which scale or shift truly varies."""
        return tuple(axis for axis in range(self.rank) if _varies(self.scale, axis) or _varies(self.shift, axis))

    def equals(self, other: "Affine") -> bool:
        """Whether both maps do the same to every place."""
        return not (self.scale != other.scale).any() and not (self.shift != other.shift).any()

    def then(self, other: "Affine") -> "Affine":
        """The map that applies this one first and `other` to its result."""
        return Affine(self.scale * other.scale, self.shift * other.scale + other.shift)

    def inverse(self) -> "Affine | Refusal":
        """The map that undoes this one.

        Law: (x - shift) / scale

        Returns:
            The inverse; ZERO_SCALE where a scale is 0, and OVERFLOW where a number exceeds float64.
        """
        zero = np.flatnonzero(self.scale == 0)
        if zero.size:
            return Refusal(
                Reason.ZERO_SCALE,
                f"scale 0 in {zero.size} of {self.scale.size} channels (the first is channel {zero[0]})",
            )
        with np.errstate(over="ignore", invalid="ignore"):
            inverse = Affine(1.0 / self.scale, -self.shift / self.scale)
        if not np.isfinite(inverse.scale).all() or not np.isfinite(inverse.shift).all():
            return Refusal(Reason.OVERFLOW, "the inverse of the map exceeds the largest float64")
        return inverse

    def scale_alone(self) -> "Affine":
        """The same scale without the shift."""
        return Affine(self.scale, np.zeros((1,) * self.rank))

    def shift_alone(self) -> "Affine":
        """The same shift with scale 1."""
        return Affine(np.ones((1,) * self.rank), self.shift)

    def constant_along(self, axes: Sequence[int]) -> "Affine":
        """The same map with length 1 on axes along which it does not vary."""
        scale, shift = self.scale, self.shift
        for axis in axes:
            first = (slice(None),) * axis + (slice(0, 1),)
            scale, shift = scale[first], shift[first]
        return Affine(scale, shift)

    def along(self, axis: int) -> "PerChannel | None":
        """The map as two vectors over one axis, or None where it varies along another.

        Args:
            axis: from 0 to rank - 1.
        """
        scale, shift = _vector_along(self.scale, axis), _vector_along(self.shift, axis)
        if scale is None or shift is None:
            return None
        return PerChannel(scale, shift)


@dataclass(frozen=True, eq=False)
class Widening(Affine):
    """A scale for a tensor that is broadcast, along axes that it does not have: it would have to grow.

    It has the rank of what the tensor is broadcast to. Only a node that makes the tensor with a constant can take it.
    """


@dataclass(frozen=True, eq=False)
class Drift(Affine):
    """An addition of numbers that are not known before run time, but alike along one axis: what a softmax forgets.

    Attributes:
        axis: the axis.
    """

    axis: int

    @classmethod
    def along_last_axis(cls, rank: int) -> "Drift":
        """One of a tensor of this rank."""
        return cls(np.ones((1,) * rank), np.zeros((1,) * rank), rank - 1)

    @property
    def is_identity(self) -> bool:
        """It changes values, whatever it adds."""
        return False


@dataclass(frozen=True, eq=False)
class PerChannel:
    """An affine map over one axis: two float64 vectors, each of length 1 or of the axis."""

    scale: Array
    shift: Array

    def fits(self, channels: int) -> bool:
        """Whether both vectors have one entry in all, or one for each of so many channels."""
        return {self.scale.size, self.shift.size} <= {1, channels}

    def on_axis(self, rank: int, axis: int) -> Affine:
        """The same map for a tensor of this rank with the channels on this axis."""
        shape = [1] * rank
        shape[axis] = -1
        return Affine(self.scale.reshape(shape), self.shift.reshape(shape))


def per_channel(scale: npt.ArrayLike, shift: npt.ArrayLike, *, rank: int, axis: int = 1) -> Affine:
    """An affine map with one scale and one shift per channel.

    Args:
        scale: shape (C,) or a number.
        shift: shape (C,) or a number.
        rank: of the tensor.
        axis: of the channels.
    """
    vectors = PerChannel(np.atleast_1d(np.asarray(scale, np.float64)), np.atleast_1d(np.asarray(shift, np.float64)))
    return vectors.on_axis(rank, axis)


def identity(rank: int) -> Affine:
    """The map that changes nothing, for tensors of this rank."""
    return per_channel(1.0, 0.0, rank=rank, axis=0) if rank else Affine(np.ones(()), np.zeros(()))


def _varies(values: Array, axis: int) -> bool:
    if values.shape[axis] == 1 or values.size == 0:
        return False
    return bool((values != values[(slice(None),) * axis + (slice(0, 1),)]).any())


def _vector_along(values: Array, axis: int) -> Array | None:
    if values.size == 0:
        return np.zeros(values.shape[axis])
    vector = values
    for other in range(values.ndim):
        if other == axis or values.shape[other] == 1:
            continue
        first = np.take(vector, [0], axis=other)
        if np.any(vector != first):
            return None
        vector = first
    return vector.reshape(-1)
