"""Tensors inside two programs, compared channel by channel."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from bnfold.judge.compare import FLOATS, Array, differences
from bnfold.judge.options import VerifyOptions
from bnfold.judge.result import TensorCheck
from bnfold.judge.tolerance import LIMITS, NOISE_FACTOR

# A channel far smaller than the others is rounded by what the others hold: no scale is below this part of the tensor's.
_SMALLEST_SCALE = 1e-3


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

    def add(self, a: Array, b: Array, others: Sequence[Array], grain: "np.dtype[np.generic]", where: str) -> None:
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
        worst = int(np.argmax(_ratio(error, scale)))
        relative = float(_ratio(error, scale)[worst])
        if relative > self._worst:
            self._worst, self._channel = relative, worst if a.ndim > 1 else None
        allowed = self._allowed(a, scale, others, grain)
        beyond = np.flatnonzero(error > allowed)
        if beyond.size and not self._problem:
            channel = int(beyond[np.argmax(error[beyond] / np.maximum(allowed[beyond], np.finfo(float).tiny))])
            self._problem = (
                f"channel {channel}: max |a - b| is {error[channel]:.3g} of {scale[channel]:.3g}, "
                f"tolerated is {allowed[channel]:.3g}, in {where}"
            )

    def result(self) -> TensorCheck:
        """The check over all samples."""
        return TensorCheck(
            self.name, frozenset(), self._worst, self._channel, passed=not self._problem, problem=self._problem
        )

    def _allowed(self, a: Array, scale: Array, others: Sequence[Array], grain: "np.dtype[np.generic]") -> Array:
        """What rounding explains in each channel: the floor, or eight times what the original moves by itself."""
        if self.options.rtol is not None or self.options.atol is not None:
            return (self.options.atol or 0.0) + (self.options.rtol or 0.0) * scale
        floor = max(LIMITS[a.dtype].floor, LIMITS[grain].floor) * scale
        ceiling = max(LIMITS[a.dtype].ceiling, LIMITS[grain].ceiling) * scale
        noise = np.zeros(scale.shape)
        for other in others:
            if other.shape == a.shape:
                noise = np.maximum(noise, _per_channel(a, other)[0])
        return np.maximum(floor, np.minimum(NOISE_FACTOR * noise, ceiling))


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
