"""A model that can be run, and run again with other roundings: all that a comparison needs of it.

Onnxruntime runs ONNX models. `bnfold.verifier.programs.runner` runs programs of PyTorch.
"""

import math
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Protocol

from bnfold.verifier.compare.perturbed_inputs import moved_by_last_bit
from bnfold.verifier.compare.perturbed_weights import moved_weights, step_of
from bnfold.verifier.compare.precision import coarsest_float
from bnfold.verifier.compare.quantizers import moved_by_a_step
from bnfold.verifier.models.load import Model
from bnfold.verifier.run.complaints import RefusedError
from bnfold.verifier.run.session import CPU, Feeds, Level, Observation, Session

if TYPE_CHECKING:
    import numpy as np

    from bnfold.verifier.models.signature import Signature

_STEPS = 4
"""Ways in which quantizers are off. A value in the middle of two borders crosses one in every second way."""


@dataclass(frozen=True)
class Perturbed:
    """What a model makes under another rounding.

    Attributes:
        outputs: of the graph, in order.
        of_a_problem: how large an error it is where a NaN or an infinity comes or goes.
        step: by how many units of the last place something was moved.
    """

    outputs: Sequence[object]
    of_a_problem: float = 0.0
    step: int = 1


class Perturbable(Protocol):
    """A model that can be run with other roundings."""

    @property
    def precision(self) -> "np.dtype[Any]":
        """The coarsest floating-point dtype that it computes in."""

    def perturbed(self, feeds: Feeds) -> Iterator[Perturbed]:
        """What it makes by other kernels."""

    def perturbed_weights(self, feeds: Feeds, number: int) -> Iterator[Perturbed]:
        """What it makes where every weight, scale and bias is moved by units of its last place, in the n-th way."""

    def perturbed_steps(self, feeds: Feeds) -> Iterator[Perturbed]:
        """What it makes where each of its quantizers is off by up to a step; nothing where it has none."""


class OnnxRunner:
    """An ONNX model on onnxruntime, as it is written.

    Args:
        model: the model.
        exposed: tensors of its graph to be seen.
        provider: the execution provider of the optimised kernels.

    Attributes:
        model: the same.
        exposed: the same.
        signature: inputs and outputs of the model itself.

    Raises:
        RefusedError, UncheckedError: as `Session`.
    """

    def __init__(self, model: Model, exposed: Sequence[str] = (), provider: str = CPU) -> None:
        self.model, self.exposed, self._provider = model, tuple(exposed), provider
        self._session = Session(model, exposed=exposed)
        self.signature: Signature = self._session.signature

    @cached_property
    def precision(self) -> "np.dtype[Any]":
        """As of the protocol."""
        return coarsest_float(self.model)

    def run(self, feeds: Feeds) -> list[object]:
        """The outputs.

        Raises:
            RefusedError: it does not take these inputs.
        """
        return self._session.run(feeds)

    def observe(self, feeds: Feeds, tensors: Sequence[str]) -> Observation:
        """The outputs, and some of the exposed tensors.

        Raises:
            RefusedError: it does not take these inputs.
        """
        return self._session.observe(feeds, tensors)

    def perturbed(self, feeds: Feeds) -> Iterator[Perturbed]:
        """As of the protocol. Where the optimised graph overflows, that is no rounding: it excuses nothing."""
        if self._optimised is not None:
            with suppress(RefusedError):
                yield Perturbed(self._optimised.run(feeds))

    @cached_property
    def _optimised(self) -> Session | None:
        with suppress(RefusedError):
            return Session(self.model, level=Level.DEFAULT, provider=self._provider)
        return None

    def perturbed_weights(self, feeds: Feeds, number: int) -> Iterator[Perturbed]:
        """As of the protocol."""
        step = step_of(number)
        with suppress(RefusedError):
            yield Perturbed(Session(self.model, weights=moved_weights(self.model, number, step)).run(feeds), step=step)

    def perturbed_steps(self, feeds: Feeds) -> Iterator[Perturbed]:
        """As of the protocol."""
        for session in self._moved_by_steps:
            with suppress(RefusedError):
                yield Perturbed(session.run(feeds))

    @cached_property
    def _moved_by_steps(self) -> list[Session]:
        sessions = []
        with suppress(RefusedError):
            for seed in range(_STEPS):
                moved = moved_by_a_step(self.model, seed)
                sessions += [Session(moved)] if moved else []
        return sessions


def observe_moved(runner: OnnxRunner, feeds: Feeds, tensors: Sequence[str], direction: int) -> list[Observation]:
    """What a model makes of inputs of which every floating-point value is moved by the last bit of its precision.

    Args:
        runner: the model.
        feeds: the inputs.
        tensors: what else is to be seen.
        direction: 1 moves each value up or down at random, -1 the other way.

    Returns:
        One observation, or none: a moved input may leave the domain of a lookup.
    """
    with suppress(RefusedError):
        return [runner.observe(moved_by_last_bit(feeds, direction, runner.precision), tensors)]
    return []


def as_perturbed(moved: Sequence[Observation]) -> Iterator[Perturbed]:
    """What moved inputs give, as other roundings: a NaN that comes or goes says that nothing is certain."""
    return (Perturbed(seen.outputs, of_a_problem=math.inf) for seen in moved)
