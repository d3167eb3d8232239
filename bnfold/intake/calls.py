"""How large a model is once all calls of its functions are inlined.

A function that calls another one twice doubles it, so that forty short functions can stand for 2^40 nodes.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bnfold.errors import ModelFormatError, UnsupportedModelError
from bnfold.intake.walk import bodies

if TYPE_CHECKING:
    from onnx import FunctionProto, ModelProto, NodeProto

_DEEPEST = 100
"""Calls in calls. onnx and onnxruntime have the same limit."""
_MOST_NODES = 2**20
_MOST_BYTES = 2**28
_MOST_TIMES_THE_FILE = 16

_Key = tuple[str, str, str]


@dataclass(frozen=True)
class Extent:
    """Size of a list of nodes.

    Attributes:
        nodes: how many, those in bodies and in functions that are called included.
        bytes: length of these nodes as serialised protobufs.
    """

    nodes: int = 0
    bytes: int = 0

    def __add__(self, other: "Extent") -> "Extent":
        return Extent(self.nodes + other.nodes, self.bytes + other.bytes)


def written_out(model: "ModelProto") -> Extent:
    """The size of a model's graph with all calls of its functions inlined, as onnx and onnxruntime inline them.

    Raises:
        ModelFormatError: a function calls itself, by whatever detour, or calls nest deeper than 100.
    """
    calls = _Calls(model.functions)
    calls.measure_all()
    return calls.of(model.graph.node)


def check_calls(model: "ModelProto") -> None:
    """Refuse a model whose functions cannot be inlined.

    Raises:
        ModelFormatError: as `written_out`.
        UnsupportedModelError: inlined, they are larger than 2**20 nodes, or than 2**28 bytes and 16 times the model.
    """
    if not model.functions:
        return
    extent = written_out(model)
    most_bytes = max(_MOST_BYTES, _MOST_TIMES_THE_FILE * model.ByteSize())
    if extent.nodes > _MOST_NODES or extent.bytes > most_bytes:
        raise UnsupportedModelError(
            f"has functions that call each other: written out, {extent.nodes:,} nodes of {extent.bytes:,} bytes, "
            f"and bnfold takes {_MOST_NODES:,} nodes and {most_bytes:,} bytes"
        )


class _Calls:
    """The functions of a model, each measured once."""

    def __init__(self, functions: "Iterable[FunctionProto]") -> None:
        self._functions = {(entry.domain, entry.name, entry.overload): entry for entry in functions}
        self._known: dict[_Key, Extent] = {}
        self._open: list[_Key] = []

    def measure_all(self) -> None:
        """Measure all functions, also those that nobody calls."""
        for key in self._functions:
            self._of_function(key)

    def of(self, nodes: "Iterable[NodeProto]") -> Extent:
        total = Extent()
        for node in _with_bodies(nodes):
            total += Extent(1, node.ByteSize())
            key = (node.domain, node.op_type, node.overload)
            if key in self._functions:
                total += self._of_function(key)
        return total

    def _of_function(self, key: _Key) -> Extent:
        if key not in self._known:
            if key in self._open:
                circle = " -> ".join(name for _, name, _ in [*self._open[self._open.index(key) :], key])
                raise ModelFormatError(f"has a function that calls itself, which ONNX forbids: {circle}")
            if len(self._open) == _DEEPEST:
                raise ModelFormatError(f"has functions that call each other more than {_DEEPEST} deep")
            self._open.append(key)
            self._known[key] = self.of(self._functions[key].node)
            self._open.pop()
        return self._known[key]


def _with_bodies(nodes: "Iterable[NodeProto]") -> "Iterator[NodeProto]":
    for node in nodes:
        yield node
        for body in bodies(node):
            yield from _with_bodies(body.node)
