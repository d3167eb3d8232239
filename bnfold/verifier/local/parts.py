"""Both parts of a changed tensor, where tensors hold other values in the new model: in terms of what that one holds.

What both begin with is y, of which the original's part makes its own x = scale * y + shift first. What both make is y
as well: there rounding errors are in proportion to the numbers that were rounded. A map came of numbers that were
stored on the way, and may be off by their rounding: it is among the stored numbers of the new part.
"""

from collections.abc import Mapping, Sequence
from functools import cached_property

import numpy as np

from bnfold.verifier.compare.channels import Array
from bnfold.verifier.local.float64.evaluate import Float64Subgraph
from bnfold.verifier.models.graph import Structure
from bnfold.verifier.models.held import HeldValues, Map


class _Part(Float64Subgraph):
    """Nodes that begin or end at such tensors.

    Args:
        graph, nodes, output: as of a Float64Subgraph.
        held: what tensors hold in the new model, if other values.

    Attributes:
        held: what those do that the nodes read or make.
    """

    def __init__(self, graph: Structure, nodes: Sequence[int], output: str, held: Mapping[str, HeldValues]) -> None:
        super().__init__(graph, nodes, output)
        touched = {name for index in self.nodes for name in graph.reads(index)} | {output}
        self.held = {name: held[name] for name in sorted(touched) if name in held}


class OriginalPart(_Part):
    """Of the original."""

    @cached_property
    def stored(self) -> dict[str, Array]:
        """The maps are among its numbers: what float64 does to them is no error."""
        return super().stored | _numbers({name: held.map for name, held in self.held.items()})

    def run(self, given: Mapping[str, Array], stored: Mapping[str, Array], *, rounds: bool = True) -> Array:
        """What has to come out of values that the new part begins with; see Float64Subgraph."""
        begin = {name: _map(name, stored).original(given[name]) for name in self.held if name in given}
        made = super().run({**given, **begin}, stored, rounds=rounds)
        self.made = _map(self.output, stored).new(made) if self.output in self.held else made
        return self.made


class NewPart(_Part):
    """Of the new model."""

    @cached_property
    def stored(self) -> dict[str, Array]:
        """The maps are among its numbers, as they were stored."""
        return super().stored | _numbers({name: held.stored for name, held in self.held.items()})

    def run(self, given: Mapping[str, Array], stored: Mapping[str, Array], *, rounds: bool = True) -> Array:
        """What comes out; see Float64Subgraph. Where maps are moved, as if the tensors held their values by these."""
        begin = {
            name: held.stored.exchanged(given[name], _map(name, stored))
            for name, held in self.held.items()
            if name in given
        }
        made = super().run({**given, **begin}, stored, rounds=rounds)
        if self.output in self.held:
            made = _end(self.held[self.output], made, _map(self.output, stored))
        self.made = made
        return made


def _end(held: HeldValues, made: Array, moved: Map) -> Array:
    """What of y has to equal that of the original: all of it, and the claimed constant where y is free."""
    constant = held.map.shift + (moved.shift - held.stored.shift)
    return np.where(held.map.is_free, constant, moved.exchanged(made, held.stored))


def _numbers(maps: Mapping[str, Map]) -> dict[str, Array]:
    scales = {_scale_of(name): entry.scale for name, entry in maps.items()}
    return scales | {_shift_of(name): entry.shift for name, entry in maps.items()}


def _map(tensor: str, stored: Mapping[str, Array]) -> Map:
    return Map(stored[_scale_of(tensor)], stored[_shift_of(tensor)])


def _scale_of(tensor: str) -> str:
    return f"scale of {tensor!r}"


def _shift_of(tensor: str) -> str:
    return f"shift of {tensor!r}"
