"""Names of the tensors of a graph and its bodies."""

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from bnfold.intake.walk import bodies

if TYPE_CHECKING:
    from onnx import GraphProto


def tensor_names(graph: "GraphProto") -> Iterator[str]:
    """All of them, some several times; "" where an optional tensor is absent."""
    yield from (entry.name for entries in (graph.input, graph.output, graph.initializer) for entry in entries)
    for node in graph.node:
        yield from (*node.input, *node.output)
        for body in bodies(node):
            yield from tensor_names(body)


def rename_tensors(graph: "GraphProto", names: Mapping[str, str]) -> None:
    """Other names, in place, in bodies that capture the tensors as well: no two tensors of a model share a name."""
    for entries in (graph.input, graph.output, graph.initializer, graph.value_info):
        for entry in entries:
            entry.name = names.get(entry.name, entry.name)
    for node in graph.node:
        for slots in (node.input, node.output):
            slots[:] = [names.get(name, name) for name in slots]
        for body in bodies(node):
            rename_tensors(body, names)
