"""Models as wholes in float64: how far each is from itself there is its own noise, whatever moves it or does not.

A deep row of layers may lose digits in the same way under every rounding of its inputs and weights, and a fold loses
fewer. Or it loses more, where a tensor lies further from zero than it did. Slow: it is asked only in doubt.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TypeGuard

import numpy as np

from bnfold.verifier.compare.arrays import FLOATS, differences
from bnfold.verifier.compare.channels import Array
from bnfold.verifier.compare.noise import Perturbed
from bnfold.verifier.compare.tolerance import RESEMBLES
from bnfold.verifier.local.float64.evaluate import Float64Subgraph
from bnfold.verifier.local.float64.operator import NotComputedError
from bnfold.verifier.local.half_units import wide
from bnfold.verifier.models.changed import nodes_behind
from bnfold.verifier.models.graph import Structure
from bnfold.verifier.run.inferred_shapes import inferred, sizes_in

_WIDER = 2  # than float32


def in_float64(
    graph: Structure, feeds: Mapping[str, object], expected: Sequence[object], memory: int
) -> Iterator[Perturbed]:
    """What a model makes in float64, as one more rounding; nothing where that is not computed, or takes too much.

    Args:
        graph: the model.
        feeds: the inputs of one sample.
        expected: its outputs in its own precision.
        memory: bytes that all tensors of the run may take together.
    """
    fed = {name: value for name, value in feeds.items() if isinstance(value, np.ndarray)}
    names = [entry.name for entry in graph.model.proto.graph.output]
    if len(fed) < len(feeds) or _size(graph, fed) > memory:
        return
    try:
        outputs = [
            _output(graph, name, fed, value) if _is_float(value) else value
            for name, value in zip(names, expected, strict=True)
        ]
    except NotComputedError:
        return
    found = [entry for one, other in zip(expected, outputs, strict=True) for entry in differences(one, other)]
    if all(not entry.problem and entry.error <= RESEMBLES for entry in found):
        yield Perturbed(outputs)


def as_noise_of(expected: Sequence[object], made: Sequence[object], exact: Iterable[Perturbed]) -> Iterator[Perturbed]:
    """The original's outputs, off by what rounding does to the new model's: a wrong number is not rounding.

    Args:
        expected: outputs of the original.
        made: outputs of the new model.
        exact: those of the new model in float64.
    """
    for other in exact:
        yield Perturbed([_off_like(*entry) for entry in zip(expected, made, other.outputs, strict=True)])


def _off_like(expected: object, made: object, exact: object) -> object:
    if not (_is_float(expected) and _is_float(made) and _is_float(exact)):
        return expected
    return expected + (exact - made) if expected.shape == made.shape == exact.shape else expected


def _is_float(value: object) -> TypeGuard[Array]:
    return isinstance(value, np.ndarray) and value.dtype in FLOATS


def _output(graph: Structure, name: str, fed: Mapping[str, Array], expected: Array) -> Array:
    nodes = nodes_behind(graph, name)
    if any(graph.is_random(index) for index in nodes):
        raise NotComputedError("random numbers are others in float64")
    part = Float64Subgraph(graph, nodes, name)
    made = part.run(
        {tensor: wide(array) for tensor, array in fed.items()},
        _Widened(part.stored),
    )
    return made.astype(expected.dtype)


class _Widened(Mapping[str, Array]):
    """Stored tensors in float64, each made when it is asked for: those of a whole model are twice its file."""

    def __init__(self, stored: Mapping[str, Array]) -> None:
        self._stored = stored

    def __getitem__(self, name: str) -> Array:
        values: Array = wide(self._stored[name])
        return values

    def __iter__(self) -> Iterator[str]:
        return iter(self._stored)

    def __len__(self) -> int:
        return len(self._stored)


def _size(graph: Structure, fed: Mapping[str, Array]) -> float:
    """Bytes of all tensors of a run in float64; infinite where that is not known."""
    known = inferred(graph.model.proto, {name: array.shape for name, array in fed.items()})
    sizes = {} if known is None else sizes_in(known)
    makes = {name for node in graph.nodes for name in node.output if name}
    return _WIDER * sum(sizes.values()) if makes <= sizes.keys() else np.inf
