"""The original's own noise: how far it moves when nothing changes but the rounding."""

import math
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from bnfold.errors import VerificationError
from bnfold.judge.compare import FLOATS, Array, differences
from bnfold.judge.grain import coarsest_float
from bnfold.judge.sessions import Feeds, ModelSource, Session


@dataclass(frozen=True)
class NoiseLevel:
    """Of one output in one sample.

    Attributes:
        error: the largest Difference.error of the original against itself under another rounding; infinite where
            a shape, a NaN or an infinity comes or goes when the inputs move.
        grain: the coarsest floating point dtype that the original computes in.
    """

    error: float
    grain: "np.dtype[Any]"


class Noise:
    """Measures it, on demand: most checks never need to know.

    Args:
        source: the original.
        session: the original, as it is written.
    """

    def __init__(self, source: ModelSource, session: Session) -> None:
        self._source = source
        self._session = session

    @cached_property
    def _grain(self) -> "np.dtype[Any]":
        return coarsest_float(self._source)

    @cached_property
    def _optimised(self) -> Session | None:
        try:
            return Session("the original, optimised", self._source, optimised=True)
        except VerificationError:
            return None

    def measure(self, feeds: Feeds, outputs: list[object]) -> list[NoiseLevel]:
        """The noise of every output.

        Three other roundings: onnxruntime's optimised kernels, and twice every floating point value in the inputs
        moved by the last bit of the grain, up or down at random.

        Args:
            feeds: the inputs of one sample.
            outputs: what the original made of them.
        """
        errors = [0.0] * len(outputs)
        for others, of_a_problem in self._other_roundings(feeds):
            found = (_error(a, b, of_a_problem) for a, b in zip(outputs, others, strict=True))
            errors = list(map(max, errors, found))
        return [NoiseLevel(error, self._grain) for error in errors]

    def _other_roundings(self, feeds: Feeds) -> Iterator[tuple[list[object], float]]:
        """Other outputs of the original, and how large an error it is there that a NaN or an infinity comes or goes."""
        for direction in (+1, -1):
            with suppress(VerificationError):  # a moved input may leave the domain of a lookup
                yield self._session.run(_moved(feeds, direction, self._grain)), math.inf
        if self._optimised is not None:
            with suppress(VerificationError):
                # Where the optimised graph overflows, that is no rounding: it excuses nothing.
                yield self._optimised.run(feeds), 0.0


def _error(output: object, other: object, of_a_problem: float) -> float:
    found = differences(output, other)
    return max((of_a_problem if difference.problem else difference.error for difference in found), default=0.0)


def _moved(feeds: Feeds, direction: int, grain: "np.dtype[Any]") -> dict[str, Array]:
    rng = np.random.default_rng(0)
    return {
        name: _move(array, direction * rng.choice((-1.0, 1.0), array.shape), grain) if array.dtype in FLOATS else array
        for name, array in feeds.items()
    }


def _move(array: Array, directions: npt.NDArray[np.float64], grain: "np.dtype[Any]") -> Array:
    """An array of zeros, which have no last bit to move, moves as if they were ones."""
    values = array.astype(np.float64)
    step = np.abs(values) if values.any() else np.ones(values.shape)
    with np.errstate(over="ignore"):  # the largest float16 moves to infinity
        moved: Array = (values + directions * step * max(_eps(grain), _eps(array.dtype))).astype(array.dtype)
    return moved


def _eps(dtype: "np.dtype[Any]") -> float:
    one, two = np.ones((), dtype), np.full((), 2, dtype)
    return float(np.nextafter(one, two)) - 1
