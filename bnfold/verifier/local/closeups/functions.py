"""Functions of the model: the body of a call is a model that reads the arguments."""

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from bnfold.verifier.compare.channels import Array
from bnfold.verifier.local.closeups.closeup import Closeup, Place
from bnfold.verifier.local.closeups.extract import assemble
from bnfold.verifier.local.closeups.nodes import same_inputs, single_nodes
from bnfold.verifier.models.graph import Structure, bodies
from bnfold.verifier.models.load import Model

if TYPE_CHECKING:
    from onnx import AttributeProto, FunctionProto, NodeProto


def closeups_of_functions(place: Place) -> Iterator[Closeup]:
    """Of a call, if both models call functions of their own with the same arguments."""
    nodes = single_nodes(place)
    if nodes is None:
        return
    ours, theirs = _call(place.original, nodes[0]), _call(place.new, nodes[1])
    if ours is None or theirs is None or list(ours.function.input) != list(theirs.function.input):
        return
    feeds = ours.feeds(place.values)
    if feeds is not None and same_inputs(place, *nodes):
        yield Closeup(ours.model(feeds), theirs.model(feeds), feeds)


def _call(graph: Structure, node: "NodeProto") -> "_Call | None":
    for function in graph.model.proto.functions:
        if (function.domain, function.name) == (node.domain, node.op_type):
            return _Call(graph, node, function)
    return None


class _Call:
    """A function as one node calls it."""

    def __init__(self, graph: Structure, node: "NodeProto", function: "FunctionProto") -> None:
        self._graph, self._node, self.function = graph, node, function
        given = [*node.input, *[""] * (len(function.input) - len(node.input))]
        self._arguments = dict(zip(function.input, given, strict=False))

    def feeds(self, values: Mapping[str, Array]) -> dict[str, Array] | None:
        """Values by the function's own names for what it reads; None where an argument is a constant that is made."""
        passed = {own: name for own, name in self._arguments.items() if name and self._graph.parameter(name) is None}
        if not all(name in values for name in passed.values()):
            return None
        return {own: values[name] for own, name in passed.items()}

    def model(self, feeds: Mapping[str, Array]) -> Model:
        """The body."""
        tensors = {own: self._graph.parameter(name) for own, name in self._arguments.items()}
        stored = {own: tensor for own, tensor in tensors.items() if tensor is not None}
        nodes = self._bound_nodes()
        made = {name for node in nodes for name in node.output}
        outputs = [name for name in self.function.output if name in made]
        return assemble(self._graph.model, self.function.opset_import, feeds, stored, nodes, outputs)

    def _bound_nodes(self) -> "list[NodeProto]":
        """Copies of the function's nodes with what the call gives them."""
        from onnx import NodeProto

        attributes = {entry.name: entry for entry in (*self.function.attribute_proto, *self._node.attribute)}
        absent = {own for own, name in self._arguments.items() if not name}
        copies = [NodeProto() for _ in self.function.node]
        for copy, node in zip(copies, self.function.node, strict=True):
            copy.CopyFrom(node)
            _bind(copy, attributes, absent)
        return copies


def _bind(node: "NodeProto", attributes: "Mapping[str, AttributeProto]", absent: set[str]) -> None:
    """Put in the attributes that a call gives, and leave out the inputs that it does not give."""
    for place, name in enumerate(node.input):
        if name in absent:
            node.input[place] = ""
    sources = (
        (entry.name, attributes.get(entry.ref_attr_name) if entry.ref_attr_name else entry) for entry in node.attribute
    )
    bound = [_renamed(entry, name) for name, entry in sources if entry is not None]
    del node.attribute[:]
    node.attribute.extend(bound)
    for body in bodies(node):
        for inner in body.node:
            _bind(inner, attributes, absent)


def _renamed(attribute: "AttributeProto", name: str) -> "AttributeProto":
    from onnx import AttributeProto

    copy = AttributeProto()
    copy.CopyFrom(attribute)
    copy.name = name
    return copy
