"""A model as this package reads it: nodes with their scopes, constants, operators with weights. Nothing of bnfold's."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import onnx
from onnx import helper, numpy_helper
from onnx.reference import ReferenceEvaluator

# Every operator that can absorb a map into weights, and that no fold removes, adds or reorders.
WEIGHTED = ("Conv", "ConvTranspose", "Gemm", "MatMul", "LSTM", "GRU", "RNN")


@dataclass(eq=False)
class Scope:
    """A graph or body, and what is visible in it."""

    graph: onnx.GraphProto
    parent: "Scope | None"
    producers: dict[str, "Node"] = field(default_factory=dict)
    initializers: dict[str, onnx.TensorProto] = field(default_factory=dict)

    def find(self, name: str) -> "tuple[Scope, Node | onnx.TensorProto] | None":
        """What makes this tensor, and where; None for inputs."""
        scope: Scope | None = self
        while scope is not None:
            found = scope.producers.get(name) or scope.initializers.get(name)
            if found is not None:
                return scope, found
            scope = scope.parent
        return None


@dataclass(eq=False)
class Node:
    """A node, where it stands, and its place in the order of the whole file."""

    proto: onnx.NodeProto
    scope: Scope
    position: int

    @property
    def label(self) -> str:
        return self.proto.name or self.proto.output[0]

    def input(self, slot: int) -> str:
        """The name of an input, "" where it is absent."""
        return self.proto.input[slot] if slot < len(self.proto.input) else ""


class Graphs:
    """The main graph and all bodies of a model. Model-local functions are left out."""

    def __init__(self, model: onnx.ModelProto) -> None:
        self.model = model
        self.nodes: list[Node] = []
        self._constants: dict[tuple[int, str], np.ndarray | None] = {}
        self._add(model.graph, None)

    def _add(self, graph: onnx.GraphProto, parent: Scope | None) -> None:
        scope = Scope(graph, parent, initializers={tensor.name: tensor for tensor in graph.initializer})
        for proto in graph.node:
            node = Node(proto, scope, len(self.nodes))
            self.nodes.append(node)
            scope.producers.update(dict.fromkeys(filter(None, proto.output), node))
            for body in _bodies(proto):
                self._add(body, scope)

    @cached_property
    def operators(self) -> list[Node]:
        """The operators with weights, in the order of the file: the k-th of a model is the k-th of its folded twin."""
        return [node for node in self.nodes if node.proto.op_type in WEIGHTED]

    @cached_property
    def readers(self) -> dict[tuple[int, str], list[tuple[Node, int]]]:
        """Every use of a tensor as a node's input, by scope and name."""
        found: dict[tuple[int, str], list[tuple[Node, int]]] = {}
        for node in self.nodes:
            for slot, name in enumerate(node.proto.input):
                found.setdefault((self._owner(node.scope, name), name), []).append((node, slot))
        return found

    def uses(self, node: Node, slot: int) -> list[tuple[Node, int]]:
        """Who reads what the node reads there."""
        name = node.proto.input[slot]
        return self.readers.get((self._owner(node.scope, name), name), [])

    def readers_of(self, node: Node) -> list[tuple[Node, int]]:
        """Who reads the node's first output."""
        return self.readers.get((id(node.scope), node.proto.output[0]), [])

    def is_output(self, node: Node) -> bool:
        """Whether the node's first output leaves its graph."""
        return any(entry.name == node.proto.output[0] for entry in node.scope.graph.output)

    def constant(self, scope: Scope, name: str) -> np.ndarray | None:
        """The values of a tensor that the file fixes; None for any other."""
        key = (self._owner(scope, name), name)
        if key not in self._constants:
            self._constants[key] = self._evaluate(scope, name)
        return self._constants[key]

    def fresh_name(self, wanted: str) -> str:
        """A tensor name that nothing in the model has."""
        taken = {name for node in self.nodes for name in (*node.proto.input, *node.proto.output)}
        number = 1
        while f"{wanted}_{number}" in taken:
            number += 1
        return f"{wanted}_{number}"

    @staticmethod
    def _owner(scope: Scope, name: str) -> int:
        found = scope.find(name)
        return id(found[0]) if found else 0

    def _evaluate(self, scope: Scope, name: str) -> np.ndarray | None:
        """By onnx's own evaluator, on the nodes that lead to it and no others."""
        found = scope.find(name)
        if found is None:
            return None
        if isinstance(found[1], onnx.TensorProto):
            return numpy_helper.to_array(found[1])
        needed = _ancestors(scope, name)
        if needed is None:
            return None
        nodes, tensors = needed
        graph = helper.make_graph(nodes, "constant", [], [onnx.ValueInfoProto(name=name)], tensors)
        model = helper.make_model(graph, opset_imports=self.model.opset_import)
        return np.asarray(ReferenceEvaluator(model).run(None, {})[0])


def twin(node: Node, other: Graphs, own: Graphs) -> Node | None:
    """The same weighted operator in the folded model, or back."""
    if len(own.operators) != len(other.operators) or node not in own.operators:
        return None
    return other.operators[own.operators.index(node)]


def attribute(proto: onnx.NodeProto, name: str, default):
    """The value of an attribute."""
    return next((helper.get_attribute_value(entry) for entry in proto.attribute if entry.name == name), default)


_PURE = ("Cast", "Constant", "ConstantOfShape", "Concat", "Expand", "Identity", "Reshape", "Slice", "Squeeze")
_CONSTANT_OPERATORS = (*_PURE, "Transpose", "Unsqueeze")


def _ancestors(scope: Scope, name: str) -> tuple[list[onnx.NodeProto], list[onnx.TensorProto]] | None:
    nodes: dict[int, onnx.NodeProto] = {}
    tensors: dict[str, onnx.TensorProto] = {}
    waiting = [(scope, name)]
    while waiting:
        place, wanted = waiting.pop()
        found = place.find(wanted)
        if found is None:
            return None
        owner, source = found
        if isinstance(source, onnx.TensorProto):
            tensors[wanted] = source
        elif source.proto.op_type not in _CONSTANT_OPERATORS:
            return None
        elif source.position not in nodes:
            nodes[source.position] = source.proto
            waiting += [(owner, needed) for needed in source.proto.input if needed]
    return [nodes[position] for position in sorted(nodes)], list(tensors.values())


def _bodies(proto: onnx.NodeProto) -> Iterator[onnx.GraphProto]:
    for entry in proto.attribute:
        if entry.type == onnx.AttributeProto.GRAPH:
            yield entry.g
        yield from entry.graphs
