"""The original's own noise: how far it moves when nothing changes but the rounding."""

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from bnfold.verifier.compare.arrays import FLOATS, Array, differences
from bnfold.verifier.compare.channels import eps
from bnfold.verifier.compare.perturbed_weights import moved_weights, noise_of_step, step_of
from bnfold.verifier.compare.precision import coarsest_float
from bnfold.verifier.compare.quantizers import moved_by_a_step
from bnfold.verifier.models.load import Model
from bnfold.verifier.run.complaints import RefusedError
from bnfold.verifier.run.session import CPU, Feeds, Level, Observation, Session

MOST_ROUNDINGS = 12
"""Of weights, in doubt."""
_STEPS = 4
"""Ways in which quantizers are off. A value in the middle of two borders crosses one in every second way."""


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


class Noise:
    """Measures it.

    Args:
        model: the original.
        session: the same, as it is written.
        provider: the execution provider of the optimised kernels.
    """

    def __init__(self, model: Model, session: Session, provider: str = CPU) -> None:
        self._model = model
        self._provider = provider
        self._session = session

    @cached_property
    def grain(self) -> "np.dtype[Any]":
        """The coarsest floating point dtype that the original computes in."""
        return coarsest_float(self._model)

    @cached_property
    def _optimised(self) -> Session | None:
        try:
            return Session(self._model, level=Level.DEFAULT, provider=self._provider)
        except RefusedError:
            return None

    def moved(self, feeds: Feeds, session: Session, tensors: Sequence[str], direction: int) -> list[Observation]:
        """What the original makes of inputs of which every floating point value is moved by the last bit of the grain.

        Args:
            feeds: the inputs.
            session: the original.
            tensors: what it exposes.
            direction: 1 moves each value up or down at random, -1 the other way.

        Returns:
            One observation, or none: a moved input may leave the domain of a lookup.
        """
        with suppress(RefusedError):
            return [session.observe(moved_by_last_bit(feeds, direction, self.grain), tensors)]
        return []

    def measure(
        self,
        feeds: Feeds,
        outputs: Sequence[object],
        in_doubt: Callable[[Sequence[NoiseLevel]], bool],
        moved: Sequence[Observation] | None = None,
    ) -> list[NoiseLevel]:
        """The noise of every output.

        Three other roundings: onnxruntime's optimised kernels, and the inputs moved twice. Where the model quantizes,
        the steps of its quantizers as well. In doubt, the weights are
        moved as well, each time in other directions: a fold rounds every weight anew, and where attention saturates,
        one rounding in two changes nothing, and the other a thousand times as much as the inputs' last bit.

        Args:
            feeds: the inputs of one sample.
            outputs: what the original made of them.
            in_doubt: whether it matters that levels could be higher.
            moved: what `moved` gave for them in both directions; None to find out.
        """
        seen = moved
        if seen is None:
            seen = [found for way in (1, -1) for found in self.moved(feeds, self._session, (), way)]
        errors = _largest_errors(outputs, seen)
        for others in self._optimised_outputs(feeds):
            # Where the optimised graph overflows, that is no rounding: it excuses nothing.
            errors = _larger(errors, outputs, others)
        steps = self._steps_of_quantizers(feeds, outputs)
        levels = self._levels(errors, steps)
        for rounding in range(MOST_ROUNDINGS):
            if not in_doubt(levels):
                break
            for others in self._outputs_of_moved_weights(feeds, rounding):
                errors = _larger(errors, outputs, others, step_of(rounding))
            levels = self._levels(errors, steps)
        return levels

    def _levels(self, errors: Sequence[float], steps: Sequence[float]) -> list[NoiseLevel]:
        return [NoiseLevel(error, self.grain, step) for error, step in zip(errors, steps, strict=True)]

    def _steps_of_quantizers(self, feeds: Feeds, outputs: Sequence[object]) -> list[float]:
        """How far each output moves where every quantizer is off by up to a step."""
        steps = [0.0] * len(outputs)
        for session in self._moved_by_steps:
            with suppress(RefusedError):
                moved = session.run(feeds)
                steps = list(map(max, steps, map(_largest_movement, outputs, moved)))
        return steps

    @cached_property
    def _moved_by_steps(self) -> list[Session]:
        """The original with its quantizers off by up to a step, in several ways; none where it has no quantizers."""
        sessions = []
        with suppress(RefusedError):
            for seed in range(_STEPS):
                moved = moved_by_a_step(self._model, seed)
                sessions += [Session(moved)] if moved else []
        return sessions

    def of_moved(self, outputs: Sequence[object], moved: Sequence[Observation]) -> list[NoiseLevel]:
        """The noise of every output by moved inputs alone."""
        return [NoiseLevel(error, self.grain) for error in _largest_errors(outputs, moved)]

    def _outputs_of_moved_weights(self, feeds: Feeds, rounding: int) -> Iterator[list[object]]:
        with suppress(RefusedError):
            yield Session(self._model, weights=moved_weights(self._model, rounding, step_of(rounding))).run(feeds)

    def _optimised_outputs(self, feeds: Feeds) -> Iterator[list[object]]:
        if self._optimised is not None:
            with suppress(RefusedError):
                yield self._optimised.run(feeds)


def _larger(errors: list[float], outputs: Sequence[object], others: list[object], step: int = 1) -> list[float]:
    found = [_error(a, b, of_a_problem=0.0) for a, b in zip(outputs, others, strict=True)]
    return list(map(max, errors, noise_of_step(np.asarray(found), step, np.asarray(errors)).tolist()))


def _largest_errors(outputs: Sequence[object], moved: Sequence[Observation]) -> list[float]:
    errors = [0.0] * len(outputs)
    for others in moved:
        found = (_error(a, b, of_a_problem=math.inf) for a, b in zip(outputs, others.outputs, strict=True))
        errors = list(map(max, errors, found))
    return errors


def _largest_movement(output: object, other: object) -> float:
    """The largest |a - b|; 0 of what cannot be subtracted."""
    found = (difference.max_abs for difference in differences(output, other))
    return max((value for value in found if math.isfinite(value)), default=0.0)


def _error(output: object, other: object, *, of_a_problem: float) -> float:
    """The largest error; where a NaN or an infinity comes or goes, the one given for that."""
    found = differences(output, other)
    return max((of_a_problem if difference.problem else difference.error for difference in found), default=0.0)


def moved_by_last_bit(
    feeds: Feeds, direction: int, grain: "np.dtype[Any]", seed: int = 0, step: int = 1
) -> dict[str, Any]:
    """Inputs of which every floating point value is moved by the last bit of a type, or of its own if that is coarser.

    Args:
        feeds: the inputs.
        direction: 1 moves each value up or down at random, -1 the other way.
        grain: the type.
        seed: of the directions.
        step: how many times that.
    """
    rng = np.random.default_rng(seed)

    def moved(value: Any) -> Any:  # noqa: ANN401 - an array or a list of them
        if isinstance(value, list):
            return [moved(element) for element in value]
        directions = step * direction * rng.choice((-1.0, 1.0), value.shape)
        return _move(value, directions, grain) if value.dtype in FLOATS else value

    return {name: moved(value) for name, value in feeds.items()}


def _move(array: Array, directions: npt.NDArray[np.float64], grain: "np.dtype[Any]") -> Array:
    """An array of zeros, which have no last bit to move, moves as if they were ones."""
    values = array.astype(np.float64)
    step = np.abs(values) if values.any() else np.ones(values.shape)
    with np.errstate(over="ignore"):  # the largest float16 moves to infinity
        moved: Array = (values + directions * step * max(eps(grain), eps(array.dtype))).astype(array.dtype)
    return moved
