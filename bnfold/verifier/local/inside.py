"""What is inside a node: bodies of If, Loop and Scan, and functions that are called, as two models of their own.

From outside, a branch that no sample takes is not seen. Inside, it is compared like any other model.
"""

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from bnfold.intake.walk import bodies
from bnfold.verifier.compare.channels import Array
from bnfold.verifier.models.changed import ChangedTensor
from bnfold.verifier.models.graph import Structure, is_standard
from bnfold.verifier.models.held import Held
from bnfold.verifier.models.load import Model
from bnfold.verifier.models.matching import Match, attributes
from bnfold.verifier.models.subgraph import Subgraph, assemble

if TYPE_CHECKING:
    from onnx import AttributeProto, FunctionProto, GraphProto, NodeProto


@dataclass(frozen=True)
class Inside:
    """Two models that claim to be the same.

    Attributes:
        original: what is inside the original's node.
        new: inside the new one's; it has the same inputs and outputs.
        feeds: values of the inputs in the original, by name.
        held: what inputs hold in the new one, if other values.
    """

    original: Model
    new: Model
    feeds: Mapping[str, Array]
    held: Mapping[str, Held | None]


@dataclass(frozen=True)
class Place:
    """A changed tensor with the two graphs that it is part of, and values of the tensors that it begins with."""

    changed: ChangedTensor
    original: Structure
    new: Structure
    values: Mapping[str, Array]

    def single_nodes(self) -> "tuple[NodeProto, NodeProto] | None":
        """The two nodes that it consists of; None where it consists of more, or is not the first output of them."""
        ours, theirs = varying(self.original, self.changed.original), varying(self.new, self.changed.new)
        single = len(ours) == len(theirs) == 1 and first_output(ours[0]) == self.changed.name
        single = single and not self.new.holds_others(theirs[0].output)
        return (ours[0], theirs[0]) if single else None

    def same_inputs(self, ours: "NodeProto", theirs: "NodeProto", but: tuple[int, ...] = ()) -> bool:
        """Whether two nodes read the same tensors with the same values, but for inputs of some numbers."""
        match = Match(self.original, self.new, self.changed.boundary)
        length = max(len(ours.input), len(theirs.input))
        pairs = zip(*([*node.input, *[""] * (length - len(node.input))] for node in (ours, theirs)), strict=True)
        others = [pair for number, pair in enumerate(pairs) if number not in but]
        return all(match.same_input(*pair) and not self.new.holds_others(pair) for pair in others)

    def held(self, names: Iterable[str]) -> dict[str, Held | None]:
        """Those of some tensors that hold other values in the new graph."""
        return {name: self.new.held[name] for name in names if name in self.new.held}


Look = Callable[[Place], "list[Inside] | None"]
"""All that is inside of a place, if it is of one kind; None where it is not, or cannot be compared by itself."""


def first_output(node: "NodeProto") -> str:
    """The name of the first output that is not left out."""
    return next(str(name) for name in node.output if name)


def varying(graph: Structure, nodes: tuple[int, ...]) -> "list[NodeProto]":
    """Those of some nodes that depend on the inputs of the model."""
    return [graph.nodes[index] for index in nodes if graph.nodes[index].output[0] not in graph.constants]


def feeds_of(ours: Collection[str], theirs: Collection[str], values: Mapping[str, Array]) -> dict[str, Array] | None:
    """Values for what two models read; None where some are not known.

    None as well where one reads a tensor that the other does not: the two are not independent of each other then (a
    BatchNorm's output, and its input), and random values for both would prove nothing.
    """
    if set(ours) != set(theirs) or not all(name in values for name in ours):
        return None
    return {name: values[name] for name in sorted(ours)}


def inside_bodies(place: Place) -> list[Inside] | None:
    """Each body in which two nodes differ that are alike otherwise."""
    nodes = place.single_nodes()
    if nodes is None or not any(bodies(nodes[0])):
        return None
    ours, theirs = nodes
    if _without_bodies(ours) != _without_bodies(theirs) or not place.same_inputs(ours, theirs):
        return None
    found = [_body(place, ours, a, b) for a, b in zip(_in_order(ours), _in_order(theirs), strict=True)]
    known = [inside for inside in found if inside is not None]
    return known if len(known) == len(found) else None


def _body(place: Place, node: "NodeProto", a: "GraphProto", b: "GraphProto") -> Inside | None:
    fed = _fed(node, a, place)
    if fed is None or _names(a.input) != _names(b.input) or _names(a.output) != _names(b.output):
        return None
    ours, theirs = Subgraph(place.original, a.node, a.initializer), Subgraph(place.new, b.node, b.initializer)
    feeds = feeds_of(ours.open - fed.keys(), theirs.open - fed.keys(), place.values)
    outputs = [name for name in _names(a.output) if name in ours.makes]
    if feeds is None or outputs != [name for name in _names(b.output) if name in theirs.makes]:
        return None
    held = place.held(feeds)
    feeds.update(fed)
    return Inside(ours.model(feeds, outputs), theirs.model(feeds, outputs), feeds, held)


def _names(entries: Collection) -> list[str]:  # type: ignore[type-arg]
    return [entry.name for entry in entries]


def _without_bodies(node: "NodeProto") -> tuple[str, str, list[bytes]]:
    """What a node is, but for its graphs."""
    from onnx import NodeProto

    plain = [entry for entry in node.attribute if not entry.HasField("g")]
    return node.domain, node.op_type, attributes(NodeProto(attribute=plain))


def _in_order(node: "NodeProto") -> "list[GraphProto]":
    """The bodies by the names of their attributes."""
    return [entry.g for entry in sorted(node.attribute, key=lambda entry: str(entry.name)) if entry.HasField("g")]


def _fed(node: "NodeProto", body: "GraphProto", place: Place) -> dict[str, Array] | None:
    """Values for a body's inputs as its first turn meets them; None where they are not known.

    Source: ONNX Loop-1 to -25, Scan-9 to -25.
    """
    if not is_standard(node):
        return None
    names = _names(body.input)
    if node.op_type == "If":
        return {}
    if node.op_type == "Loop":
        states = [_value(place, name) for name in node.input[2:]]
        turn = [np.zeros((), np.int64), np.ones((), np.bool_)]
        return _named(names, [*turn, *states])
    if node.op_type == "Scan":
        return _named(names, _first_slices(node, [_value(place, name) for name in node.input]))
    return None


def _named(names: list[str], values: list[Array | None]) -> dict[str, Array] | None:
    if len(names) != len(values) or any(value is None for value in values):
        return None
    return {name: value for name, value in zip(names, values, strict=True) if value is not None}


def _value(place: Place, name: str) -> Array | None:
    if name in place.values:
        return place.values[name]
    return None if place.original.parameter(name) is None else place.original.array(name)


def _first_slices(node: "NodeProto", values: list[Array | None]) -> list[Array | None]:
    """The states as they are, and the first slice of each tensor that is scanned."""
    given = {attribute.name: attribute for attribute in node.attribute}
    scanned = given["num_scan_inputs"].i
    axes = list(given["scan_input_axes"].ints) if "scan_input_axes" in given else [0] * scanned
    states = len(values) - scanned
    return [
        *values[:states],
        *(None if value is None else _first(value, axis) for value, axis in zip(values[states:], axes, strict=True)),
    ]


def _first(values: Array, axis: int) -> Array | None:
    return np.take(values, 0, axis) if values.shape[axis] else None


def inside_functions(place: Place) -> list[Inside] | None:
    """The bodies of a call, if both models call functions of their own with the same arguments."""
    nodes = place.single_nodes()
    if nodes is None:
        return None
    functions = place.original.function(nodes[0]), place.new.function(nodes[1])
    if functions[0] is None or functions[1] is None:
        return None
    ours, theirs = _Call(place.original, nodes[0], functions[0]), _Call(place.new, nodes[1], functions[1])
    feeds = ours.feeds(place.values)
    if feeds is None or ours.ports != theirs.ports or not place.same_inputs(*nodes):
        return None
    return [Inside(ours.model(feeds), theirs.model(feeds), feeds, {})]


class _Call:
    """A function as one node calls it."""

    def __init__(self, graph: Structure, node: "NodeProto", function: "FunctionProto") -> None:
        self._graph, self._node, self._function = graph, node, function
        given = [*node.input, *[""] * (len(function.input) - len(node.input))]
        self._arguments = dict(zip(function.input, given, strict=False))

    @property
    def ports(self) -> tuple[list[str], list[str]]:
        """Names of the function's inputs and outputs."""
        return list(self._function.input), list(self._function.output)

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
        outputs = [name for name in self._function.output if name in made]
        return assemble(self._graph.model, self._function.opset_import, feeds, stored, nodes, outputs)

    def _bound_nodes(self) -> "list[NodeProto]":
        """Copies of the function's nodes with what the call gives them."""
        from onnx import NodeProto

        given = {entry.name: entry for entry in (*self._function.attribute_proto, *self._node.attribute)}
        absent = {own for own, name in self._arguments.items() if not name}
        copies = [NodeProto() for _ in self._function.node]
        for copy, node in zip(copies, self._function.node, strict=True):
            copy.CopyFrom(node)
            _bind(copy, given, absent)
        return copies


def _bind(node: "NodeProto", given: "Mapping[str, AttributeProto]", absent: set[str]) -> None:
    """Put in the attributes that a call gives, and leave out the inputs that it does not give."""
    for place, name in enumerate(node.input):
        if name in absent:
            node.input[place] = ""
    sources = (
        (entry.name, given.get(entry.ref_attr_name) if entry.ref_attr_name else entry) for entry in node.attribute
    )
    bound = [_renamed(entry, name) for name, entry in sources if entry is not None]
    del node.attribute[:]
    node.attribute.extend(bound)
    for body in bodies(node):
        for inner in body.node:
            _bind(inner, given, absent)


def _renamed(attribute: "AttributeProto", name: str) -> "AttributeProto":
    from onnx import AttributeProto

    copy = AttributeProto()
    copy.CopyFrom(attribute)
    copy.name = name
    return copy
