"""How the parameters of a folded operator come about, and what they would be with another map."""

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from bnfold.outcome import Fold
from tests.faults.graphs import Node
from tests.faults.layouts import Parameters
from tests.faults.maps import Map, identity

Side = Literal["output", "input"]

# Ways to combine how several maps reach one operator, before giving up.
_MOST_COMBINATIONS = 200


@dataclass(frozen=True, eq=False)
class Absorption:
    """One fold into one operator, at the operator's output (upstream) or input (downstream)."""

    fold: Fold
    node: Node
    side: Side


@dataclass(frozen=True, eq=False)
class Exact:
    """The right parameters as a formula: those of the original, and every map that went in.

    Attributes:
        before: the operator's parameters in the original.
        absorptions: every fold into the operator, in the order of the graph.
        maps: of each, one number per channel of the operator.
        reaches: how each came to that.
        place: of the fold in question among those.
    """

    before: Parameters
    absorptions: tuple[Absorption, ...]
    maps: tuple[Map, ...]
    reaches: tuple["Reach", ...]
    place: int

    @property
    def map(self) -> Map:
        """The fold's map, one number per channel of the operator."""
        return self.maps[self.place]

    def reach(self, other: Map) -> Map:
        """Another map of the fold's own channels, as it would reach the operator's."""
        return self.reaches[self.place].apply(other)

    def with_map(self, wrong: Map) -> Parameters:
        """The parameters if the fold's map were this one."""
        maps = [*self.maps[: self.place], wrong, *self.maps[self.place + 1 :]]
        return _absorb(self.before, self.absorptions, maps)


@dataclass(frozen=True)
class Reach:
    """How a map over a fold's channels becomes one over the channels of the operator that takes it."""

    channels: int
    how: Literal["same", "repeat", "tile", "part"]
    start: int = 0
    parts: Literal["both", "scale", "shift"] = "both"

    def apply(self, given: Map) -> Map:
        part = {"both": given, "scale": given.scale_alone(), "shift": given.shift_alone()}[self.parts]
        return Map(self._spread(part.scale), self._spread(part.shift))

    def _spread(self, vector: np.ndarray) -> np.ndarray:
        match self.how:
            case "repeat":
                return np.repeat(vector, self.channels // vector.size)
            case "tile":
                return np.tile(vector, self.channels // vector.size)
            case "part":
                return vector[self.start : self.start + self.channels]
        return vector


def explain(
    before: Parameters,
    right: Parameters,
    absorptions: Sequence[Absorption],
    maps: Sequence[Map],
    place: int,
    precision: float,
) -> Exact | None:
    """Find how the maps reached the operator, so that the original's parameters become those of the folded model.

    Args:
        before: the operator's parameters in the original.
        right: those in the folded model.
        absorptions: every fold into the operator, in the order of the graph.
        maps: of each.
        place: of the fold in question among those.
        precision: rounding error of the type that holds the parameters.

    Returns:
        None where no way that this package knows leads from the one to the other.
    """
    if before.weight.shape != right.weight.shape:
        return None
    choices = [list(_reaches(right, entry, given)) for entry, given in zip(absorptions, maps, strict=True)]
    for reaches in itertools.islice(itertools.product(*choices), _MOST_COMBINATIONS):
        reached = tuple(reach.apply(given) for reach, given in zip(reaches, maps, strict=True))
        if _agree(_absorb(before, absorptions, reached), right, precision):
            return Exact(before, tuple(absorptions), reached, tuple(reaches), place)
    return None


def _reaches(right: Parameters, entry: Absorption, given: Map) -> Iterator[Reach]:
    channels = right.outputs if entry.side == "output" else right.inputs
    parts = ("scale", "shift") if entry.fold.direction == "both" else ("both", "scale", "shift")
    ways: list[tuple[str, int]] = []
    if given.channels == channels:
        ways = [("same", 0)]
    elif channels % given.channels == 0:
        ways = [("repeat", 0), ("tile", 0)]
    elif given.channels > channels:
        ways = [("part", start) for start in range(given.channels - channels + 1)]
    for part, (how, start) in itertools.product(parts, ways):
        yield Reach(channels, how, start, part)


def _absorb(before: Parameters, absorptions: Sequence[Absorption], maps: Sequence[Map]) -> Parameters:
    """Output(operator(Input(x))) as one operator."""
    sides = {"input": identity(before.inputs), "output": identity(before.outputs)}
    for entry, given in zip(absorptions, maps, strict=True):
        sides[entry.side] = given.after(sides[entry.side])
    inner, outer = sides["input"], sides["output"]
    weight = before.weight * before.per_input(inner.scale) * before.per_output(outer.scale)
    bias = before.full_bias
    if np.any(inner.shift):
        bias = bias + before.applied_to(inner.shift)
    return Parameters(weight, outer.scale * bias + outer.shift)


def _agree(made: Parameters, right: Parameters, precision: float) -> bool:
    """Whether nothing but rounding lies between the two. The bias first: it is small, and mostly decides."""
    pairs = ((made.full_bias, right.full_bias), (made.weight, right.weight))
    return all(np.all(np.abs(a - b) <= 4 * precision * (np.abs(b) + 1e-3 * np.abs(b).max(initial=0))) for a, b in pairs)
