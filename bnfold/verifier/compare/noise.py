"""The original's own noise: how far its outputs move when nothing changes but the rounding."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from bnfold.verifier.compare.arrays import differences

if TYPE_CHECKING:
    import numpy as np


_JUMP = 4
"""How many times more than the step, so that it is no growth by it."""


@dataclass(frozen=True)
class Perturbed:
    """What a model makes under another rounding.

    Attributes:
        outputs: of the graph, in order.
        of_a_problem: how large an error it is where a NaN or an infinity comes or goes.
        step: by how many units of the last place something was moved.
        of_quantizers: whether its quantizers were off by up to a step, and nothing else.
    """

    outputs: Sequence[object]
    of_a_problem: float = 0.0
    step: int = 1
    of_quantizers: bool = False


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


def noise_of(outputs: Sequence[object], others: Iterable[Perturbed], precision: "np.dtype[Any]") -> list[NoiseLevel]:
    """The noise of every output of a model: what it makes under other roundings, and the precision it computes in."""
    levels = [NoiseLevel(0.0, precision) for _ in outputs]
    for other in others:
        levels = raised(levels, outputs, other)
    return levels


def raised(levels: Sequence[NoiseLevel], outputs: Sequence[object], other: Perturbed) -> list[NoiseLevel]:
    """Levels that are no lower than what one more rounding makes."""
    return [_level(*entry, other) for entry in zip(levels, outputs, other.outputs, strict=True)]


def _level(level: NoiseLevel, output: object, moved: object, other: Perturbed) -> NoiseLevel:
    found = differences(output, moved)
    if other.of_quantizers:
        moves = (difference.max_abs for difference in found)
        return replace(level, step=max(level.step, *(move for move in moves if math.isfinite(move)), 0.0))
    error = max((other.of_a_problem if difference.problem else difference.error for difference in found), default=0.0)
    return replace(level, error=max(level.error, of_one_unit(error, other.step, level.error)))


def of_one_unit(error: float, step: int, noise: float) -> float:
    """What a movement by several units says of one by a single unit.

    Args:
        error: what moved, in any unit.
        step: by how many units of the last place.
        noise: what moves by one unit, as far as it is known.

    Returns:
        A part of the error where it grows with the step; all of it where it is a jump.
    """
    return error if error > _JUMP * step * noise else error / step
