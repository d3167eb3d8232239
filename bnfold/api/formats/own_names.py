"""Names of its own for a model that an exporter made: it names tensors by position, and the verifier believes names."""

from collections.abc import Mapping
from itertools import chain

import onnx

from bnfold.intake.walk import bodies


def with_own_names(model: onnx.ModelProto) -> onnx.ModelProto:
    """The same model with other names for all tensors inside, in place: a name that two exports share says nothing."""
    kept = {entry.name for entry in (*model.graph.input, *model.graph.output)}
    _rename(model.graph, {name: f"new/{name}" for name in _names(model.graph) if name not in kept})
    return model


def _names(graph: onnx.GraphProto) -> set[str]:
    """All names of tensors in a graph and its bodies."""
    names = {name for node in graph.node for name in (*node.input, *node.output) if name}
    names |= {entry.name for entry in (*graph.input, *graph.output, *graph.initializer)}
    return names.union(*map(_names, chain.from_iterable(map(bodies, graph.node))))


def _rename(graph: onnx.GraphProto, names: Mapping[str, str]) -> None:
    del graph.value_info[:]
    for entry in (*graph.input, *graph.output, *graph.initializer):
        entry.name = names.get(entry.name, entry.name)
    for node in graph.node:
        for held in (node.input, node.output):
            held[:] = [names.get(name, name) for name in held]
        for body in bodies(node):
            _rename(body, names)
