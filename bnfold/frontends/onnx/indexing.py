"""An index over a ModelProto: which node makes a tensor, which nodes read it, in every graph, body and function."""

from collections.abc import Iterable

import onnx

from bnfold.errors import ModelFormatError
from bnfold.frontends.common.fresh_names import Names
from bnfold.frontends.onnx.graph import GraphIndex, OnnxNode, OnnxValue, Scope, canonical_domain, subgraphs
from bnfold.frontends.onnx.operators.table import TRAITS


def index_model(model: onnx.ModelProto) -> GraphIndex:
    """Index a model.

    Raises:
        ModelFormatError: a node reads a tensor that nothing before it makes, or two nodes make one name.
    """
    builder = _Builder(model)
    opsets = {canonical_domain(entry.domain): entry.version for entry in model.opset_import}
    builder.add_graph(model.graph, None, opsets, "graph")
    for function in model.functions:
        opsets = {canonical_domain(entry.domain): entry.version for entry in function.opset_import}
        builder.add_function(function, opsets)
    node_names = Names(node.proto.name for scope in builder.scopes for node in scope.nodes)
    return GraphIndex(model, builder.scopes, builder.names, node_names)


class _Builder:
    def __init__(self, model: onnx.ModelProto) -> None:
        self.scopes: list[Scope] = []
        self.names = Names()
        self._functions = {(canonical_domain(entry.domain), entry.name) for entry in model.functions}

    def add_graph(self, graph: onnx.GraphProto, parent: Scope | None, opsets: dict[str, int], label: str) -> None:
        scope = Scope(graph, parent, opsets, label, TRAITS)
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
        scope = Scope(function, None, opsets, f"function {function.domain}.{function.name}", TRAITS)
        self.scopes.append(scope)
        for name in function.input:
            self._define(scope, name).is_input = True
        self._add_nodes(scope, function.node)
        for name in function.output:
            self._resolve(scope, name, f"output {name!r} of {scope.label}").is_output = True

    def _add_nodes(self, scope: Scope, protos: Iterable[onnx.NodeProto]) -> None:
        for proto in protos:
            key = (canonical_domain(proto.domain), proto.op_type)
            node = OnnxNode(proto, scope, [], [], (len(scope.nodes), 0), calls_function=key in self._functions)
            scope.nodes.append(node)
            for slot, name in enumerate(proto.input):
                value = self._resolve(scope, name, f"input {slot} of node {proto.name!r}") if name else None
                node.inputs.append(value)
                if value is not None:
                    value.add_reader(node, slot)
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
