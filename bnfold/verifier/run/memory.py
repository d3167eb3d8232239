"""What a run of a model asks for, told before it is run: a file of a kilobyte can ask for terabytes."""

from collections.abc import Mapping, Sequence
from functools import cached_property
from math import prod
from typing import TYPE_CHECKING

from bnfold.intake.calls import written_out
from bnfold.intake.tensors import bytes_of
from bnfold.intake.walk import bodies
from bnfold.keywords import keyword
from bnfold.sizes import memory
from bnfold.verifier.models.graph import RANDOM, Structure, names_read
from bnfold.verifier.models.refused import RefusedError
from bnfold.verifier.run.inferred_shapes import inferred, sizes_in

if TYPE_CHECKING:
    from onnx import GraphProto

_LEAST = 2 * 2**30
_SHARE_OF_CONSTANTS = 4
"""What does not depend on the inputs is made once per session, and kept: of the memory of a run, one part in four."""
_COPIES_OF_OUTPUTS = 4
"""Beside the one that a run makes, while they are compared."""
_MOST_NODES = 2**15
_MOST_TIMES_THE_FILE = 4
"""onnxruntime takes time with the square of the nodes that functions are written out to: a second for 2^14."""
_BYTES = 4

Shapes = Mapping[str, Sequence[int]]


class Demand:
    """What a model asks of a machine.

    Args:
        graph: the model.
        memory: bytes that the tensors of one run may take, if that is more than 2 GiB.
    """

    def __init__(self, graph: Structure, memory: int) -> None:
        self._graph, self._memory = graph, max(memory, _LEAST)
        self._known: dict[tuple[tuple[str, tuple[int, ...]], ...], str] = {}

    def require_a_session(self) -> None:
        """Refuse what would take too much before anything is run.

        Raises:
            RefusedError: constants that the model makes, sparse weights, or functions that are written out.
        """
        problem = self._too_many_nodes() or self._too_large("its sparse weights", self._dense, self._memory)
        if problem:
            raise RefusedError(f"{self._graph.model.role} was not run: {problem}")

    def require_a_run(self, shapes: Shapes) -> None:
        """Refuse inputs of some shapes on which a run would take too much, as far as that can be known.

        Raises:
            RefusedError: they are such.
        """
        key = tuple((name, tuple(shape)) for name, shape in sorted(shapes.items()))
        if key not in self._known:
            self._known[key] = self._problem(shapes)
        if self._known[key]:
            raise RefusedError(f"{self._graph.model.role} was not run: {self._known[key]}")

    def _problem(self, shapes: Shapes) -> str:
        # Of [2^62, 0], numpy says that it is too large, although nothing is in it.
        values = max((_BYTES * prod(max(size, 1) for size in shape) for shape in shapes.values()), default=0)
        if values > self._memory:
            return self._too_large("the values of an input", values, self._memory)
        graph = inferred(self._graph.model.proto, shapes)
        if graph is None:
            return ""
        peak, constant = _peak(graph, self._graph.inputs)
        most = self._memory // _SHARE_OF_CONSTANTS
        return self._too_large("the constants that it makes", constant, most) or self._too_large(
            "the tensors of one run", peak, self._memory
        )

    @staticmethod
    def _too_large(what: str, size: int, most: int) -> str:
        if size <= most:
            return ""
        return f"{what} take {memory(size)}, more than {memory(most)} ({keyword('VerifyOptions.memory')})"

    @cached_property
    def _dense(self) -> int:
        """Bytes of sparse weights, which onnxruntime makes dense when it loads them."""
        return sum(
            bytes_of(sparse.values.data_type, prod(sparse.dims))
            for sparse in self._graph.model.proto.graph.sparse_initializer
        )

    def _too_many_nodes(self) -> str:
        model = self._graph.model.proto
        if not model.functions:
            return ""
        own = len(model.graph.node) + sum(len(function.node) for function in model.functions)
        nodes = written_out(model).nodes
        if nodes <= max(_MOST_NODES, _MOST_TIMES_THE_FILE * own):
            return ""
        return f"its functions come to {nodes:,} nodes when every call is written out, of {own:,} in the file"


def _peak(graph: "GraphProto", inputs: set[str]) -> tuple[int, int]:
    """Bytes that the tensors of a run take at the most, if each goes after its last use, and those of constants.

    Args:
        graph: with shapes; weights are inputs of it or stored in it.
        inputs: what the caller feeds.
    """
    sizes = sizes_in(graph)
    last_use = {name: index for index, node in enumerate(graph.node) for name in names_read(node)}
    last_use |= {entry.name: len(graph.node) for entry in graph.output}
    moving = set(inputs)
    alive = {name: sizes.get(name, 0) for name in inputs}
    now = sum(alive.values()) + _COPIES_OF_OUTPUTS * sum(sizes.get(entry.name, 0) for entry in graph.output)
    most = now
    constant = 0
    for index, node in enumerate(graph.node):
        reads = names_read(node)
        made = {name: sizes.get(name, 0) for name in node.output if name}
        if node.op_type in RANDOM or not moving.isdisjoint(reads):
            moving.update(made)
        else:
            constant += sum(made.values())
        alive |= made
        now += sum(made.values())
        most = max(most, now + sum(map(_all_of, bodies(node))))
        now -= sum(alive.pop(name, 0) for name in (*reads, *made) if last_use.get(name, index) == index)
    return most, constant


def _all_of(body: "GraphProto") -> int:
    """Bytes of all tensors of a body, as if none of them went."""
    inner = sum(_all_of(graph) for node in body.node for graph in bodies(node))
    return sum(sizes_in(body).values()) + inner
