"""An index over a ModelProto: which node makes a tensor, which nodes read it, in every graph, body and function.

The protobuf stays the model. The index only looks at it, and edits it in place (edits.py), so that whatever is not
folded keeps its bytes.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import TypeAlias

import onnx

from bnfold.errors import ModelFormatError

GraphLike: TypeAlias = onnx.GraphProto | onnx.FunctionProto
Shape: TypeAlias = tuple[int | str | None, ...]
"""Lengths: a number, the name of one that is not known before run time, or None where it has not even a name."""


@dataclass(eq=False)
class Scope:
    """A graph, the body of an If, Loop or Scan, or a model-local function.

    Attributes:
        proto: the graph or function.
        parent: the scope around a body; None for the main graph and for functions.
        opsets: version of each imported operator domain, "" being ONNX's own.
        label: for messages: "graph", "then_branch of if_3", "function pkg.Block".
    """

    proto: GraphLike
    parent: "Scope | None"
    opsets: dict[str, int]
    label: str
    values: dict[str, "OnnxValue"] = field(default_factory=dict)
    nodes: list["OnnxNode"] = field(default_factory=list)

    @property
    def is_function(self) -> bool:
        """Whether it is a model-local function, and no graph."""
        return isinstance(self.proto, onnx.FunctionProto)

    def find(self, name: str) -> "OnnxValue | None":
        """The tensor of this name that is visible here."""
        scope: Scope | None = self
        while scope is not None:
            if name in scope.values:
                return scope.values[name]
            scope = scope.parent
        return None


@dataclass(eq=False)
class OnnxValue:
    """A tensor.

    Attributes:
        name: its name in the file.
        scope: where it is defined.
        producer: the node that makes it, None for inputs and initializers.
        initializer: its data, if it is an initializer.
        is_input: whether it is an input of its scope (an initializer can be both).
        is_output: whether it is an output of some scope.
        is_sparse: whether it is a sparse initializer.
        readers: every use as a node input: (node, input index).
        shape: what is known of it before run time, None where even the rank is not.
        element_type: TensorProto.DataType known before run time, UNDEFINED where it is not.
    """

    name: str
    scope: Scope
    producer: "OnnxNode | None" = None
    initializer: onnx.TensorProto | None = None
    is_input: bool = False
    is_output: bool = False
    is_sparse: bool = False
    readers: list[tuple["OnnxNode", int]] = field(default_factory=list)
    shape: Shape | None = None
    element_type: int = onnx.TensorProto.UNDEFINED

    @property
    def is_initializer(self) -> bool:
        """Whether the file holds its data as a tensor of the graph."""
        return self.initializer is not None or self.is_sparse

    @property
    def value_readers(self) -> list[tuple["OnnxNode", int]]:
        """The uses that see the tensor's values, not only its shape or type."""
        return [(node, slot) for node, slot in self.readers if not _ignores_values(node, slot)]


@dataclass(eq=False)
class OnnxNode:
    """An operator, with its tensors resolved.

    Attributes:
        proto: the node in the file.
        scope: the graph that holds it.
        position: smaller than that of every node of the scope that reads what it makes.
        calls_function: whether a model-local function of the file defines it, whatever its name.
        label: its name, or the name of its first output where it has none, as they were before any fold.
    """

    proto: onnx.NodeProto
    scope: Scope
    inputs: list[OnnxValue | None]
    outputs: list[OnnxValue | None]
    position: tuple[int, int]
    calls_function: bool = False
    label: str = field(init=False)

    def __post_init__(self) -> None:
        self.label = self.proto.name or next(filter(None, self.proto.output), self.proto.op_type)

    @property
    def op(self) -> str:
        """Operator type, with its domain in front unless that is ONNX's own."""
        return self.proto.op_type if self.is_standard else f"{self.proto.domain}::{self.proto.op_type}"

    @property
    def is_standard(self) -> bool:
        """Whether it is an operator of the ONNX standard, not one of another domain or of the file itself."""
        return self.proto.domain in ("", "ai.onnx") and not self.calls_function

    @property
    def is_batch_norm(self) -> bool:
        """Whether it is a BatchNormalization of the ONNX standard, foldable or not."""
        return self.is_standard and self.proto.op_type == "BatchNormalization"

    @property
    def may_be_affine(self) -> bool:
        """Whether it is of an operator that can be an affine map."""
        return self.is_standard and self.proto.op_type in ("Add", "BatchNormalization", "Div", "Mul", "Sub")

    @property
    def opset(self) -> int:
        """Version of the ONNX operator set in force here."""
        return self.scope.opsets.get("", 1)


def _ignores_values(node: OnnxNode, slot: int) -> bool:
    """Shape and Size read dimensions, CastLike reads the type of its second input."""
    operator = node.proto.op_type if node.is_standard else ""
    return operator in ("Shape", "Size") or (operator == "CastLike" and slot == 1)


@dataclass(eq=False)
class GraphIndex:
    """The whole model, indexed.

    Attributes:
        model: the protobuf.
        scopes: main graph first, bodies after the graph that holds them, functions last.
        names: every tensor name anywhere in the model, so that a new one never collides.
        node_names: the same of the nodes.
    """

    model: onnx.ModelProto
    scopes: list[Scope]
    names: set[str]
    node_names: set[str]

    @property
    def main(self) -> Scope:
        """The scope of the main graph."""
        return self.scopes[0]

    def nodes(self) -> Iterator[OnnxNode]:
        """All nodes, scope by scope, in the order of the file."""
        for scope in self.scopes:
            yield from scope.nodes


def index_model(model: onnx.ModelProto) -> GraphIndex:
    """Index a model.

    Raises:
        ModelFormatError: a node reads a tensor that nothing before it makes, or two nodes make one name.
    """
    builder = _Builder(model)
    opsets = {_canonical(entry.domain): entry.version for entry in model.opset_import}
    builder.add_graph(model.graph, None, opsets, "graph")
    for function in model.functions:
        opsets = {_canonical(entry.domain): entry.version for entry in function.opset_import}
        builder.add_function(function, opsets)
    node_names = {node.proto.name for scope in builder.scopes for node in scope.nodes}
    return GraphIndex(model, builder.scopes, builder.names, node_names)


def subgraphs(node: onnx.NodeProto) -> Iterator[tuple[str, onnx.GraphProto]]:
    """The bodies of a node with the names of the attributes that hold them."""
    for attribute in node.attribute:
        if attribute.type == onnx.AttributeProto.GRAPH:
            yield attribute.name, attribute.g
        for graph in attribute.graphs:
            yield attribute.name, graph


class _Builder:
    def __init__(self, model: onnx.ModelProto) -> None:
        self.scopes: list[Scope] = []
        self.names: set[str] = set()
        self._functions = {(_canonical(entry.domain), entry.name) for entry in model.functions}

    def add_graph(self, graph: onnx.GraphProto, parent: Scope | None, opsets: dict[str, int], label: str) -> None:
        scope = Scope(graph, parent, opsets, label)
        self.scopes.append(scope)
        for entry in graph.input:
            self._define(scope, entry.name).is_input = True
        for tensor in graph.initializer:
            value = self._input_or_new(scope, tensor.name)
            value.initializer, value.shape, value.element_type = tensor, tuple(tensor.dims), tensor.data_type
        for sparse in graph.sparse_initializer:
            value = self._input_or_new(scope, sparse.values.name)
            value.is_sparse, value.shape, value.element_type = True, tuple(sparse.dims), sparse.values.data_type
        self._add_nodes(scope, graph.node)
        for entry in graph.output:
            self._resolve(scope, entry.name, f"output {entry.name!r} of {label}").is_output = True

    def add_function(self, function: onnx.FunctionProto, opsets: dict[str, int]) -> None:
        scope = Scope(function, None, opsets, f"function {function.domain}.{function.name}")
        self.scopes.append(scope)
        for name in function.input:
            self._define(scope, name).is_input = True
        self._add_nodes(scope, function.node)
        for name in function.output:
            self._resolve(scope, name, f"output {name!r} of {scope.label}").is_output = True

    def _add_nodes(self, scope: Scope, protos: Iterable[onnx.NodeProto]) -> None:
        for proto in protos:
            key = (_canonical(proto.domain), proto.op_type)
            node = OnnxNode(proto, scope, [], [], (len(scope.nodes), 0), calls_function=key in self._functions)
            scope.nodes.append(node)
            for slot, name in enumerate(proto.input):
                value = self._resolve(scope, name, f"input {slot} of node {proto.name!r}") if name else None
                node.inputs.append(value)
                if value is not None:
                    value.readers.append((node, slot))
            for attribute, body in subgraphs(proto):
                self.add_graph(body, scope, scope.opsets, f"{attribute} of {node.label}")
            for name in proto.output:
                node.outputs.append(self._define(scope, name, node) if name else None)

    def _define(self, scope: Scope, name: str, producer: OnnxNode | None = None) -> OnnxValue:
        if name in scope.values:
            raise ModelFormatError(f"two definitions of tensor {name!r} in {scope.label}; names must be unique")
        value = scope.values[name] = OnnxValue(name, scope, producer)
        self.names.add(name)
        return value

    def _input_or_new(self, scope: Scope, name: str) -> OnnxValue:
        value = scope.values.get(name)
        if value is not None and value.is_input and not value.is_initializer:
            return value
        return self._define(scope, name)

    def _resolve(self, scope: Scope, name: str, where: str) -> OnnxValue:
        value = scope.find(name)
        if value is None:
            raise ModelFormatError(f"{where} is {name!r}, which no earlier node, input or initializer provides")
        return value


def _canonical(domain: str) -> str:
    return "" if domain == "ai.onnx" else domain
