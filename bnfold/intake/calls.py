"""What the functions of a model come to when every call is written out: a few lines can stand for a million million."""

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
    """How much something is.

    Attributes:
        nodes: bodies and the functions that are called included.
        bytes: of these nodes, serialised.
    """

    nodes: int = 0
    bytes: int = 0

    def __add__(self, other: "Extent") -> "Extent":
        return Extent(self.nodes + other.nodes, self.bytes + other.bytes)


def written_out(model: "ModelProto") -> Extent:
    """A model's graph with every call of its functions written out, as onnx and onnxruntime do it.

    Raises:
        ModelFormatError: a function calls itself, by whatever detour, or calls nest deeper than 100.
    """
    calls = _Calls(model.functions)
    calls.measure_all()
    return calls.of(model.graph.node)


def check_calls(model: "ModelProto") -> None:
    """Whether the functions of a model can be written out at all.

    Raises:
        ModelFormatError: as `written_out`.
        UnsupportedModelError: they come to more than any tool could take.
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
        """Also those that nobody calls."""
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
