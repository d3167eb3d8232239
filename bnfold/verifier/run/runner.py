"""An ONNX model that can be run, and run again with other roundings: all that a comparison needs of it."""

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from functools import cached_property
from itertools import chain
from typing import TYPE_CHECKING, Any

from bnfold.verifier.compare.noise import NoiseLevel, Perturbed, noise_of, raised
from bnfold.verifier.compare.perturbed import moved_by_last_bit, moved_weights
from bnfold.verifier.compare.quantizers import moved_by_a_step
from bnfold.verifier.models.load import Model
from bnfold.verifier.models.precision import coarsest_float
from bnfold.verifier.models.refused import RefusedError
from bnfold.verifier.run.session import CPU, Feeds, Level, Observation, Session

if TYPE_CHECKING:
    import numpy as np

_MOST_ROUNDINGS = 12
"""Of weights, in doubt."""
_MOST_MOVED = 2**29
"""Bytes of large weights of which a copy is made to move them."""
_STEPS = 4
"""Ways in which quantizers are off. A value in the middle of two borders crosses one in every second way."""


class OnnxRunner(Session):
    """An ONNX model on onnxruntime, as it is written; and with other roundings.

    Args:
        model: the model.
        exposed: tensors of its graph to be seen.
        provider: the execution provider of the optimised kernels.

    Raises:
        RefusedError, UncheckedError: as `Session`.
    """

    def __init__(self, model: Model, exposed: Sequence[str] = (), provider: str = CPU) -> None:
        super().__init__(model, exposed=exposed)
        self.model, self._provider = model, provider

    def on(self, provider: str) -> "OnnxRunner":
        """The same with the optimised kernels of a provider: itself where it has them already."""
        return self if provider == self._provider else OnnxRunner(self.model, provider=provider)

    @cached_property
    def precision(self) -> "np.dtype[Any]":
        """The coarsest floating-point dtype that it computes in."""
        return coarsest_float(self.model)

    def perturbed(self, feeds: Feeds) -> Iterator[Perturbed]:
        """What it makes by other kernels, and where its quantizers are off by up to a step.

        Where the optimised graph overflows, that is no rounding: it excuses nothing.
        """
        for session in filter(None, (self._optimised,)):
            with suppress(RefusedError):
                yield Perturbed(session.run(feeds))
        for session in self._moved_by_steps:
            with suppress(RefusedError):
                yield Perturbed(session.run(feeds), of_quantizers=True)

    def perturbed_further(self, feeds: Feeds) -> Iterator[Perturbed]:
        """What it makes where every weight, scale and bias is moved by 1, 1, 2, 2, 4, 4, ... units of its last place.

        Each is run when it is asked for. Where attention is about to turn to another token, few roundings of one unit
        show it; larger ones do. Very large weights are not moved: the copies would take as much memory as they do.
        """
        if self.model.bytes_outside > _MOST_MOVED:
            return
        for number in range(_MOST_ROUNDINGS):
            step = 2 ** (number // 2)
            with suppress(RefusedError):
                session = Session(self.model, weights=moved_weights(self.model, number, step))
                yield Perturbed(session.run(feeds), step=step)

    @cached_property
    def _optimised(self) -> Session | None:
        with suppress(RefusedError):
            return Session(self.model, level=Level.DEFAULT, provider=self._provider)
        return None

    @cached_property
    def _moved_by_steps(self) -> list[Session]:
        with suppress(RefusedError):
            moved = [moved_by_a_step(self.model, seed) for seed in range(_STEPS)]
            return [Session(model) for model in moved if model]
        return []


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


def measure(
    runner: OnnxRunner,
    feeds: Feeds,
    outputs: Sequence[object],
    moved: Iterable[Perturbed],
    at_last: Iterable[Perturbed],
    in_doubt: Callable[[Sequence[NoiseLevel]], bool],
) -> list[NoiseLevel]:
    """The noise of every output, as far as it has to be known.

    Three other roundings: other kernels, and the inputs moved twice. Where the model quantizes, the steps of its
    quantizers as well. In doubt, further ones: a fold rounds every weight anew, and where attention saturates, one
    rounding in two changes nothing, and the other a thousand times as much as the inputs' last bit.

    Args:
        runner: the original.
        feeds: the inputs of one sample.
        outputs: what the original makes of them.
        moved: what it makes where they are moved by their last bit.
        at_last: further roundings, where all others leave a doubt.
        in_doubt: whether it matters that levels could be higher.
    """
    levels = noise_of(outputs, chain(moved, runner.perturbed(feeds)), runner.precision)
    further = chain(runner.perturbed_further(feeds), at_last)
    while in_doubt(levels) and (other := next(further, None)):
        levels = raised(levels, outputs, other)
    return levels
