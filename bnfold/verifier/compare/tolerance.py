"""How much two models may differ, and why.

A difference is judged against the output's own scale: max|a - b| <= rtol * max|a|, sample by sample. Element by
element, a relative tolerance would either fail wherever a value happens to cross zero, or be so wide that it hides a
wrong channel. Each dtype has two limits.

The *floor* always passes. onnxruntime with and without its optimisations, which include a BatchNorm fold of its own,
was compared over eighteen networks of 5 to 121 BatchNorms, with statistics from mild to so wide that outputs reach
1e30. Outside of attention networks, float32 outputs moved by 1e-7 to 3e-6 of their scale (29 eps), whatever the
width, and float16 outputs by 3e-4 to 3.3e-3 (3 eps); a correct fold of a small float16 network was seen to move by
4.8e-3. The floors are round figures above, 1e-5 and 8e-3; bfloat16 has float16's, in its own eps.

Above the floor the model's own noise decides: how far the original moves under another legal rounding of the same
inputs (bnfold.verifier.compare.noise). Eight times that passes: a fold rounds every layer anew, and the independent
errors of 64 layers add up to eight times one.

A network that computes in float16 and casts its outputs to float32 is judged as float16: beyond the floor of the
output, the coarsest dtype in the model sets the limits.

The *ceiling* never lets a larger difference pass. Where eight times the noise exceeds it as well, that difference says
nothing about a fold: there are networks (attention that saturates on wide inputs) that move by 10 % of their scale
when an input moves by its last bit. Such a sample is left out, and an output without any other sample fails.

A model that quantizes makes whole steps of last bits. An output passes that is no further away than where each of the
model's quantizers, off by up to a step, moves it: the tensors in front of the quantizers are compared for themselves.

Integers, booleans and strings have floor 0: they must be equal, except where the original does not agree with
itself under another rounding, such as an ArgMax of two equal scores, and then in at most 0.1 % of the values.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import IntEnum
from typing import Any

import ml_dtypes
import numpy as np

from bnfold.verification import VerifyOptions
from bnfold.verifier.compare.arrays import Difference
from bnfold.verifier.compare.channels import Array, ratios, smallest
from bnfold.verifier.compare.noise import NoiseLevel

NOISE_FACTOR = 8
RESEMBLES = 0.05
"""Of max |a|: further from what it is in float64, a result is noise, and so is whatever is compared with it."""
_CHANNELS = 4


@dataclass(frozen=True)
class Limits:
    """Two tolerances for Difference.error."""

    floor: float
    ceiling: float


LIMITS: dict["np.dtype[Any]", Limits] = {
    np.dtype(np.float64): Limits(floor=1e-12, ceiling=1e-6),
    np.dtype(np.float32): Limits(floor=1e-5, ceiling=1e-3),
    np.dtype(np.float16): Limits(floor=8e-3, ceiling=5e-2),
    np.dtype(ml_dtypes.bfloat16): Limits(floor=6e-2, ceiling=2.5e-1),
}
EXACT = Limits(floor=0, ceiling=1e-3)
_QUANTIZED = (np.dtype(np.int8), np.dtype(np.uint8))
_ROUNDING_OF_STEPS = 1e-3


@dataclass(frozen=True)
class OwnTolerance:
    """What the caller tolerates: |b - a| <= atol + rtol * max|a|, in every output and in every changed channel."""

    rtol: float
    atol: float

    def excess(self, error: Array, scale: Array) -> Array:
        """Errors in units of what is tolerated."""
        return ratios(error, self.atol + self.rtol * np.asarray(scale, np.float64))


def own_tolerance(options: VerifyOptions) -> OwnTolerance | None:
    """The caller's tolerance; None where the defaults hold."""
    if options.rtol is None and options.atol is None:
        return None
    return OwnTolerance(options.rtol or 0.0, options.atol or 0.0)


class Verdict(IntEnum):
    """On one tensor of one sample, from the least to the most serious."""

    EQUAL = 0
    UNDECIDED = 1
    DIFFERENT = 2


def channel_floor(dtype: "np.dtype[Any]", grain: "np.dtype[Any]") -> float:
    """What always passes in one channel of a tensor, in units of its largest value.

    The floors are those of whole outputs; a channel's own scale is smaller than its tensor's.
    """
    return _CHANNELS * limits_of(dtype, grain).floor


def noise_matters(difference: Difference, options: VerifyOptions) -> bool:
    """Whether the verdict depends on the noise: beyond the floor, unless the caller's own tolerance is final."""
    return own_tolerance(options) is None and judge(difference, options) is not Verdict.EQUAL


def tolerated(difference: Difference, options: VerifyOptions) -> float:
    """The largest |a - b| that passes whatever the noise, in units of the output."""
    if difference.dtype not in LIMITS:
        return 0.0
    own = own_tolerance(options)
    if own is not None:
        return own.atol + own.rtol * difference.magnitude
    return max(LIMITS[difference.dtype].floor * difference.magnitude, smallest(difference.dtype))


def judge(difference: Difference, options: VerifyOptions, noise: NoiseLevel | None = None) -> Verdict:
    """The verdict on one difference, with the original's noise where that matters and was measured."""
    if _within(difference, options):
        return Verdict.EQUAL
    if noise is None:
        return Verdict.DIFFERENT
    if difference.problem:
        return Verdict.UNDECIDED if math.isinf(noise.error) else Verdict.DIFFERENT
    if within_a_step(difference, noise):
        return Verdict.EQUAL
    limits = limits_of(difference.dtype, noise.grain)
    allowance = NOISE_FACTOR * noise.error
    if difference.error <= max(limits.floor, min(allowance, limits.ceiling)):
        return Verdict.EQUAL
    return Verdict.UNDECIDED if allowance > limits.ceiling else Verdict.DIFFERENT


def within_a_step(difference: Difference, noise: NoiseLevel) -> bool:
    """Whether a difference is no larger than what steps of the model's own quantizers make.

    Of integers only quantized ones, of 8 bits, have steps, and theirs is 1. Indices and counts have none.
    """
    if difference.problem or not noise.step:
        return False
    if difference.dtype in LIMITS:
        return difference.max_abs <= noise.step * (1 + _ROUNDING_OF_STEPS)
    return difference.dtype in _QUANTIZED and difference.max_abs <= min(noise.step, 1)


def explained_by_steps(difference: Difference, options: VerifyOptions, noise: NoiseLevel) -> bool:
    """Whether a difference passes because the model quantizes, and for no other reason."""
    return (
        judge(difference, options, noise) is Verdict.EQUAL
        and judge(difference, options, replace(noise, step=0.0)) is not Verdict.EQUAL
    )


def differ(found: Sequence[Sequence[Difference]], options: VerifyOptions, noise: Sequence[NoiseLevel | None]) -> bool:
    """Whether any difference condemns, given the noise of each output."""
    return any(
        judge(difference, options, level) is Verdict.DIFFERENT
        for output, level in zip(found, noise, strict=True)
        for difference in output
    )


def is_open(found: Sequence[Difference], options: VerifyOptions, noise: NoiseLevel) -> bool:
    """Whether a single tensor differs in its values alone, beyond what the noise excuses."""
    return len(found) == 1 and not found[0].problem and judge(found[0], options, noise) is not Verdict.EQUAL


def limits_of(dtype: "np.dtype[Any]", grain: "np.dtype[Any]") -> Limits:
    """Of an output of one dtype in a model that computes in another, its grain: those of the coarser."""
    if dtype not in LIMITS:
        return EXACT
    return max(LIMITS[dtype], LIMITS[grain], key=lambda limits: limits.floor)


def _within(difference: Difference, options: VerifyOptions) -> bool:
    if difference.problem:
        return False
    if difference.dtype not in LIMITS:
        return difference.error == 0
    return difference.max_abs <= tolerated(difference, options)
