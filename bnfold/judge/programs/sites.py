"""Tensors inside two programs, compared channel by channel."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from bnfold.judge.compare import FLOATS, Array, differences
from bnfold.judge.moved_weights import noise_of_step
from bnfold.judge.options import VerifyOptions
from bnfold.judge.result import TensorCheck
from bnfold.judge.tolerance import LIMITS, NOISE_FACTOR

# A channel far smaller than the others is rounded by what the others hold: no scale is below this part of the tensor's.
_SMALLEST_SCALE = 1e-3
# Of the channels.
_FEW = 0.01

Moved: TypeAlias = tuple[Array, int]
"""What the original makes under another rounding, and what its movement is to be divided by."""


@dataclass
class SiteTally:
    """One tensor, sample by sample.

    Args:
        name: of the tensor.
        options: of the check.
    """

    name: str
    options: VerifyOptions
    _worst: float = 0.0
    _channel: int | None = None
    _problem: str = ""
    _decided: bool = False
    _unstable: str = ""

    def condemns(self, a: Array, b: Array, others: Sequence[Moved], grain: "np.dtype[np.generic]") -> bool:
        """Whether a channel differs by more than the original itself does under other roundings, as in `add`."""
        error, scale = _per_channel(a, b)
        return bool((error > self._allowed(a, scale, others, grain).beyond).any())

    def add(self, a: Array, b: Array, others: Sequence[Moved], grain: "np.dtype[np.generic]", where: str) -> None:
        """Count one sample.

        Args:
            a: the original's.
            b: the new program's.
            others: what the original makes under other roundings.
            grain: the coarsest type that the original computes in.
            where: how messages call the sample.
        """
        problem = next((entry.problem for entry in differences(a, b) if entry.problem), "")
        if not problem and a.dtype not in FLOATS and not np.array_equal(a, b):
            problem = "other values"
        if problem or a.dtype not in FLOATS:
            self._problem = self._problem or (f"{problem} in {where}" if problem else "")
            return
        error, scale = _per_channel(a, b)
        allowed = self._allowed(a, scale, others, grain)
        if (error > allowed.equal).any() and not (error > allowed.beyond).any():
            self._unstable = f"where another rounding of the original moves it as much, as in {where}"
            return
        self._decided = True
        worst = int(np.argmax(_ratio(error, scale)))
        relative = float(_ratio(error, scale)[worst])
        if relative > self._worst:
            self._worst, self._channel = relative, worst if a.ndim > 1 else None
        beyond = np.flatnonzero(error > allowed.beyond)
        if beyond.size and not self._problem:
            limits = allowed.beyond
            channel = int(beyond[np.argmax(error[beyond] / np.maximum(limits[beyond], np.finfo(float).tiny))])
            self._problem = (
                f"channel {channel}: max |a - b| is {error[channel]:.3g} of {scale[channel]:.3g}, "
                f"tolerated is {limits[channel]:.3g}, in {where}"
            )

    def result(self) -> TensorCheck:
        """The check over all samples."""
        problem = self._problem
        if not problem and self._unstable and not self._decided:
            problem = f"equality cannot be shown, {self._unstable}: give real samples with --input"
        return TensorCheck(self.name, frozenset(), self._worst, self._channel, passed=not problem, problem=problem)

    def _allowed(self, a: Array, scale: Array, others: Sequence[Moved], grain: "np.dtype[np.generic]") -> "_Allowed":
        """What rounding explains in each channel: the floor, or eight times what the original moves by itself.

        Where few values of a channel were seen, its own noise may be small by chance: what is usual of all channels
        counts too. Where more than a few channels move by more than the ceiling, nothing is said of any: attention that
        turns to another token moves all of them, each by another amount.
        """
        if self.options.rtol is not None or self.options.atol is not None:
            own = (self.options.atol or 0.0) + (self.options.rtol or 0.0) * scale
            return _Allowed(own, own)
        floor = max(LIMITS[a.dtype].floor, LIMITS[grain].floor)
        ceiling = max(LIMITS[a.dtype].ceiling, LIMITS[grain].ceiling)
        noise = np.zeros(scale.shape)
        for other, step in others:
            if other.shape == a.shape:
                noise = np.maximum(noise, noise_of_step(_per_channel(a, other)[0], step, noise))
        equal, unstable = floor * scale, np.zeros(scale.shape, np.bool_)
        for moved, size in ((noise, scale), (_root_mean_square(noise), _root_mean_square(scale))):
            equal = np.maximum(equal, np.minimum(NOISE_FACTOR * moved, ceiling * size))
            unstable |= NOISE_FACTOR * moved > ceiling * size
        if np.mean(unstable) > _FEW:
            unstable[:] = True
        return _Allowed(equal, np.where(unstable, np.inf, equal))


@dataclass(frozen=True)
class _Allowed:
    """Errors by channel: up to which two are equal, and beyond which they differ. Between, nothing can be said."""

    equal: Array
    beyond: Array


def _root_mean_square(values: Array) -> float:
    return float(np.sqrt(np.mean(np.square(values)))) if values.size else 0.0


def needs_noise(a: Array, b: Array) -> bool:
    """Whether a channel differs by more than the floor, so that the original's own noise decides."""
    if a.dtype not in FLOATS or a.shape != b.shape or a.dtype != b.dtype:
        return False
    error, scale = _per_channel(a, b)
    return bool((error > LIMITS[a.dtype].floor * scale).any())


def _per_channel(a: Array, b: Array) -> tuple[Array, Array]:
    """Largest |a - b| and the scale of each channel on axis 1; a tensor of less than two axes is one channel."""
    left, right = _in_channels(a), _in_channels(b)
    finite = np.isfinite(left) & np.isfinite(right)
    with np.errstate(over="ignore", invalid="ignore"):
        error = np.where(finite, np.abs(left - right), 0.0).max(axis=1, initial=0.0)
    magnitude = np.where(np.isfinite(left), np.abs(left), 0.0).max(axis=1, initial=0.0)
    return error, np.maximum(magnitude, _SMALLEST_SCALE * magnitude.max(initial=0.0))


def _in_channels(tensor: Array) -> Array:
    wide = tensor.astype(np.float64)
    return np.moveaxis(wide, 1, 0).reshape(wide.shape[1], -1) if wide.ndim > 1 else wide.reshape(1, -1)


def _ratio(error: Array, scale: Array) -> Array:
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(error > 0, error / scale, 0.0)
