"""Two models of one signature, run side by side, sample by sample."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from bnfold.errors import UncheckedError
from bnfold.verification import VerifyOptions
from bnfold.verifier.compare.channels import Array
from bnfold.verifier.models.changed import ChangedTensor
from bnfold.verifier.models.graph import Structure
from bnfold.verifier.models.held import Held
from bnfold.verifier.models.refused import RefusedError
from bnfold.verifier.run.complaints import of_original
from bnfold.verifier.run.feeding import Feeding
from bnfold.verifier.run.inputs import distinct_samples, draw, name_of_draw
from bnfold.verifier.run.parallel import side_by_side
from bnfold.verifier.run.runner import OnnxRunner, observe_moved
from bnfold.verifier.run.session import Feeds, Observation
from bnfold.verifier.run.taming import Tamer


class NewModelRefuses(Exception):  # noqa: N818 - a verdict, not an error
    """The new model does not load, or does not run on what the original takes."""


@dataclass(frozen=True)
class Pair:
    """Both models, with the changed tensors of one group to be seen.

    Attributes:
        original: the original; what the subgraphs begin with is exposed as well.
        new: the new model.
        tensors: the changed tensors.
        held: what they hold in the new model, if other values, as far as it is known by then.
    """

    original: OnnxRunner
    new: OnnxRunner
    tensors: tuple[ChangedTensor, ...]
    held: Mapping[str, Held | None]

    @classmethod
    def open(cls, original: Structure, new: Structure, tensors: Sequence[ChangedTensor]) -> "Pair":
        """Open both.

        Raises:
            InvalidOriginalError, UncheckedError: as `open_original`.
            UncheckedError: onnxruntime lacks an operator of the new model.
            NewModelRefuses: it does not take the new model.
        """
        ours, theirs = side_by_side(
            lambda: open_original(original, exposed=around(tensors, original)),
            lambda: _open_new(new, [changed.name for changed in tensors]),
        )
        return cls(ours, theirs, tuple(tensors), new.held)


def around(tensors: Sequence[ChangedTensor], graph: Structure) -> list[str]:
    """Changed tensors, and what their subgraphs begin with that a graph makes."""
    boundaries = (name for changed in tensors for name in changed.boundary if name in graph.producers)
    return list(dict.fromkeys([*(changed.name for changed in tensors), *boundaries]))


def open_original(original: Structure, exposed: Sequence[str] = ()) -> OnnxRunner:
    """The original with some tensors to be seen.

    Raises:
        InvalidOriginalError: onnxruntime says that it is invalid.
        UncheckedError: onnxruntime does not take it.
    """
    try:
        return OnnxRunner(original.model, exposed)
    except RefusedError as error:
        raise of_original(error) from error


def _open_new(new: Structure, exposed: Sequence[str]) -> OnnxRunner:
    try:
        return OnnxRunner(new.model, exposed)
    except RefusedError as error:
        if error.lacking and not error.lacking.knows_operator:
            raise UncheckedError(str(error)) from error
        raise NewModelRefuses(str(error)) from error


@dataclass(frozen=True)
class Sample:
    """What both models make of one sample.

    Attributes:
        number: of the sample, from 0.
        where: how messages call it.
        feeds: the inputs.
        original: what the original makes of them.
        new: what the new model does.
        runner: the original.
        held: what tensors hold in the new model, if other values.
    """

    number: int
    where: str
    feeds: Feeds
    original: Observation
    new: Observation
    runner: OnnxRunner
    held: Mapping[str, Held | None]

    def new_tensor(self, name: str) -> object:
        """What the new model makes of one tensor, in terms of the original's where it holds other values."""
        value, held = self.new.tensors[name], self.held.get(name)
        if held is None or not isinstance(value, np.ndarray):
            return value
        return held.map.original(value).astype(value.dtype)

    @cached_property
    def moved_once(self) -> list[Observation]:
        """The original on inputs moved in one direction, run when somebody asks."""
        return observe_moved(self.runner, self.feeds, list(self.original.tensors), 1)

    @cached_property
    def moved(self) -> list[Observation]:
        """The same in both directions."""
        return [*self.moved_once, *observe_moved(self.runner, self.feeds, list(self.original.tensors), -1)]

    def moved_tensor(self, name: str, *, once: bool = False) -> list[object]:
        """One tensor of these."""
        return [seen.tensors[name] for seen in (self.moved_once if once else self.moved)]

    @cached_property
    def arrays(self) -> dict[str, Array]:
        """Everything that was fed or seen of the original and is a tensor."""
        seen = {**self.feeds, **self.original.tensors}
        return {name: value for name, value in seen.items() if isinstance(value, np.ndarray)}


class ComparisonRun:
    """All samples of a check.

    Args:
        original: the original, as it was when a way to feed it was found.
        feeding: that way.
        options: of the check.

    Attributes:
        left_out: samples that the original refused, and why, in words.
        feeds: of the first sample.
        expected: outputs of the original on it.
    """

    def __init__(self, original: OnnxRunner, feeding: Feeding, options: VerifyOptions) -> None:
        self.left_out: dict[str, None] = {}
        inputs = original.signature.inputs
        count = distinct_samples(inputs, options)
        ways = feeding.settings
        self._samples: list[tuple[str, Feeds]] = [
            (name_of_draw(inputs, options, number), draw(inputs, ways[number % len(ways)], options, number))
            for number in range(count)
        ]
        self._tamer = Tamer(inputs, options.inputs)
        self.feeds, first = feeding.feeds, feeding.observation
        found = self._tamer.tame(self.feeds, first, lambda feeds: original.observe(feeds, original.exposed))
        if found:
            exponent, self.feeds, first = found
            self._samples[0] = (_divided(self._samples[0][0], exponent), self.feeds)
        self.expected = first.outputs
        self._first_observation: Observation | None = first

    @property
    def total(self) -> int:
        """How many samples there are."""
        return len(self._samples)

    @property
    def count(self) -> int:
        """How many samples were compared."""
        return len(self._samples) - len(self.left_out)

    def first(self, pair: Pair) -> Sample | None:
        """The first sample, with all that is exposed; None where the original refuses it.

        Raises:
            NewModelRefuses: only the new model refuses it.
        """
        return next(self._observe(pair, [0], pair.original.exposed), None)

    def others(self, pair: Pair, tensors: Sequence[str]) -> Iterator[Sample]:
        """The other samples that the original takes, with some of the exposed tensors.

        Raises:
            NewModelRefuses: only the new model refuses one.
        """
        return self._observe(pair, range(1, len(self._samples)), tensors)

    def _observe(self, pair: Pair, numbers: Sequence[int], tensors: Sequence[str]) -> Iterator[Sample]:
        for number in numbers:
            try:
                yield self._observe_sample(pair, number, tensors)
            except RefusedError as error:
                self.left_out[f"{self._samples[number][0]} left out: {error}"] = None

    def _observe_sample(self, pair: Pair, number: int, tensors: Sequence[str]) -> Sample:
        """Run both models on a sample; where the original overflows on it, on a smaller one."""
        where, feeds = self._samples[number]
        known = self._take_first_observation() if number == 0 else None
        sample = _run_both(pair, number, where, feeds, tensors, known)
        found = self._tamer.tame(feeds, sample.original, lambda others: pair.original.observe(others, tensors))
        if number == 0 or found is None:
            return sample
        exponent, others, seen = found
        self._samples[number] = (_divided(where, exponent), others)
        return _run_both(pair, number, self._samples[number][0], others, tensors, seen)

    def _take_first_observation(self) -> Observation | None:
        """What the original made of the first sample at the first group of tensors, once: it takes memory."""
        known, self._first_observation = self._first_observation, None
        return known


def _run_both(
    pair: Pair, number: int, where: str, feeds: Feeds, tensors: Sequence[str], known: Observation | None
) -> Sample:
    wanted = [name for name in tensors if name in pair.new.exposed]

    def observe_new() -> Observation:
        try:
            return pair.new.observe(feeds, wanted)
        except RefusedError as error:
            raise NewModelRefuses(f"{error} (in {where})") from error

    expected, got = side_by_side(lambda: known or pair.original.observe(feeds, tensors), observe_new)
    return Sample(number, where, feeds, expected, got, pair.original, pair.held)


def _divided(where: str, exponent: int) -> str:
    return f"{where}, divided by 2^{exponent}"


def boundary_values(tensors: Sequence[ChangedTensor], arrays: Mapping[str, Array]) -> dict[str, Array]:
    """Only what the subgraphs of changed tensors begin with."""
    names = dict.fromkeys(name for changed in tensors for name in changed.boundary if name in arrays)
    return {name: arrays[name] for name in names}
