"""The original's own noise: how far its outputs move when nothing changes but the rounding."""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from bnfold.verifier.compare.arrays import differences
from bnfold.verifier.compare.perturbed_weights import noise_of_step

if TYPE_CHECKING:
    from bnfold.verifier.run.runner import Perturbable, Perturbed
    from bnfold.verifier.run.session import Feeds

MOST_ROUNDINGS = 12
"""Of weights, in doubt."""


@dataclass(frozen=True)
class NoiseLevel:
    """Of one output in one sample.

    Attributes:
        error: the largest Difference.error of the original against itself under another rounding; infinite where
            a shape, a NaN or an infinity comes or goes when the inputs move.
        grain: the coarsest floating point dtype that the original computes in.
        step: the largest Difference.max_abs of the original against itself where each of its quantizers is off by up
            to a step; 0 where it has none, or nobody asked.
    """

    error: float
    grain: "np.dtype[Any]"
    step: float = 0.0


def noise_of(outputs: Sequence[object], others: "Iterable[Perturbed]", precision: "np.dtype[Any]") -> list[NoiseLevel]:
    """The noise of every output.

    Args:
        outputs: what the original makes.
        others: what it makes under other roundings.
        precision: the coarsest dtype that it computes in.
    """
    return _louder([NoiseLevel(0.0, precision) for _ in outputs], outputs, others)


def measure(
    runner: "Perturbable",
    feeds: "Feeds",
    outputs: Sequence[object],
    moved: "Iterable[Perturbed]",
    in_doubt: Callable[[Sequence[NoiseLevel]], bool],
) -> list[NoiseLevel]:
    """The noise of every output, as far as it has to be known.

    Three other roundings: other kernels, and the inputs moved twice. Where the model quantizes, the steps of its
    quantizers as well. In doubt, the weights are moved as well, each time in other directions: a fold rounds every
    weight anew, and where attention saturates, one rounding in two changes nothing, and the other a thousand times as
    much as the inputs' last bit.

    Args:
        runner: the original.
        feeds: the inputs of one sample.
        outputs: what the original makes of them.
        moved: what it makes where they are moved by their last bit.
        in_doubt: whether it matters that levels could be higher.
    """
    levels = _louder(noise_of(outputs, moved, runner.precision), outputs, runner.perturbed(feeds))
    levels = _with_steps(levels, outputs, runner.perturbed_steps(feeds))
    for number in range(MOST_ROUNDINGS):
        if not in_doubt(levels):
            break
        levels = _louder(levels, outputs, runner.perturbed_weights(feeds, number))
    return levels


def _louder(levels: Sequence[NoiseLevel], outputs: Sequence[object], others: "Iterable[Perturbed]") -> list[NoiseLevel]:
    levels = list(levels)
    for other in others:
        errors = [_error(a, b, other.of_a_problem) for a, b in zip(outputs, other.outputs, strict=True)]
        found = noise_of_step(np.asarray(errors), other.step, np.asarray([level.error for level in levels]))
        levels = [replace(level, error=max(level.error, float(e))) for level, e in zip(levels, found, strict=True)]
    return levels


def _with_steps(
    levels: Sequence[NoiseLevel], outputs: Sequence[object], others: "Iterable[Perturbed]"
) -> list[NoiseLevel]:
    levels = list(levels)
    for other in others:
        moves = [_largest_movement(a, b) for a, b in zip(outputs, other.outputs, strict=True)]
        levels = [replace(level, step=max(level.step, move)) for level, move in zip(levels, moves, strict=True)]
    return levels


def _largest_movement(output: object, other: object) -> float:
    """The largest |a - b|; 0 of what cannot be subtracted."""
    found = (difference.max_abs for difference in differences(output, other))
    return max((value for value in found if math.isfinite(value)), default=0.0)


def _error(output: object, other: object, of_a_problem: float) -> float:
    """The largest error; where a NaN or an infinity comes or goes, the one given for that."""
    found = differences(output, other)
    return max((of_a_problem if difference.problem else difference.error for difference in found), default=0.0)
