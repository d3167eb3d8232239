"""The parts of an indexed ModelProto: graphs, tensors, nodes, and what is known of operators as such.

The protobuf stays the model: whatever is not folded keeps its bytes. `indexing.py` makes the index.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TypeAlias

import onnx

from bnfold.frontends.common.fresh_names import Names
from bnfold.frontends.common.precision import AnyArray
from bnfold.frontends.onnx.readers import Uses
from bnfold.refusal import Refusal

GraphLike: TypeAlias = onnx.GraphProto | onnx.FunctionProto
Shape: TypeAlias = tuple[int | str | None, ...]
"""Lengths: a number, the name of one that is not known before run time, or None where it has not even a name."""


@dataclass(frozen=True)
class Traits:
    """What is known of an operator, whatever the parameters of a node are.

    Attributes:
        may_be_affine: whether it can be an affine map.
        per_number: whether each number of the output is made of one number of one input, if the others are constants.
        multiplies: whether such a number is multiplied.
        commutative: whether two operands may change places.
        keeps_numbers: whether the output has the numbers of the first input, in their order.
        holds_values: whether the node itself, and no input, says which numbers it makes.
        dequantizes: whether it makes numbers of integers or 8-bit floats, scales and zero points, its three inputs.
        shaped_by_values: whether the values of an input, not its shape, tell the rank of the output.
        is_unknown_to_inference: whether ONNX infers no shape for it, although the output has that of the first input.
        value_inputs: how many inputs, from the first on, are read for their values; None for all.
        evaluate: from constant inputs; None where onnx's reference implementation has to, if anybody.
        can_be_computed: whether that implementation may: it must make the same every time, and what runtimes make.
        tell_output_shape: what a node tells of the shape of its first output beyond what ONNX infers, or None.
        tell_input_shape: what a node tells of the shape that its first input must have, or None.
        type_of_input: the input whose type the first output has, where ONNX does not infer it; None if it does.
    """

    may_be_affine: bool = False
    per_number: bool = False
    multiplies: bool = False
    commutative: bool = False
    keeps_numbers: bool = False
    holds_values: bool = False
    dequantizes: bool = False
    shaped_by_values: bool = False
    is_unknown_to_inference: bool = False
    value_inputs: int | None = None
    evaluate: Callable[["OnnxNode", Sequence[AnyArray]], AnyArray | Refusal] | None = None
    can_be_computed: bool = True
    tell_output_shape: "Callable[[OnnxNode], Shape | None] | None" = None
    tell_input_shape: "Callable[[OnnxNode], Shape | None] | None" = None
    type_of_input: int | None = None


_NOTHING_KNOWN = Traits()


@dataclass(eq=False)
class Scope:
    """A graph, the body of an If, Loop or Scan, or a model-local function.

    Attributes:
        proto: the graph or function.
        parent: the scope around a body; None for the main graph and for functions.
        opsets: version of each imported operator domain, "" being ONNX's own.
        label: for messages: "graph", "then_branch of if_3", "function pkg.Block".
        traits: of operators, by domain and type.
    """

    proto: GraphLike
    parent: "Scope | None"
    opsets: dict[str, int]
    label: str
    traits: Mapping[tuple[str, str], Traits]
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
        readers: every use as a node input: (node, input index); changed by the methods for that.
        value_readers: the uses that see the tensor's values, not only its shape or type.
        captures: those of them by nodes of bodies inside of its scope.
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
    readers: "Uses[tuple[OnnxNode, int]]" = field(default_factory=Uses)
    value_readers: "Uses[tuple[OnnxNode, int]]" = field(default_factory=Uses)
    captures: "Uses[tuple[OnnxNode, int]]" = field(default_factory=Uses)
    shape: Shape | None = None
    element_type: int = onnx.TensorProto.UNDEFINED

    @property
    def is_initializer(self) -> bool:
        """Whether the file holds its data as a tensor of the graph."""
        return self.initializer is not None or self.is_sparse

    def add_reader(self, node: "OnnxNode", slot: int) -> None:
        """A node reads it now."""
        self.readers.add((node, slot))
        if node.reads_values_of(slot):
            self.value_readers.add((node, slot))
            if node.scope is not self.scope:
                self.captures.add((node, slot))

    def drop_reader(self, node: "OnnxNode", slot: int) -> None:
        """A node does not read it any more."""
        self.readers.drop((node, slot))
        for uses in (self.value_readers, self.captures):
            if (node, slot) in uses:
                uses.drop((node, slot))

    def drop_all_readers(self) -> None:
        """Nothing reads it any more."""
        for uses in (self.readers, self.value_readers, self.captures):
            uses.clear()


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
        return not canonical_domain(self.proto.domain) and not self.calls_function

    @property
    def is_batch_norm(self) -> bool:
        """Whether it is a BatchNormalization of the ONNX standard, foldable or not."""
        return self.is_standard and self.proto.op_type == "BatchNormalization"

    @property
    def traits(self) -> Traits:
        """What is known of its operator; nothing of a function of the file."""
        key = (canonical_domain(self.proto.domain), self.proto.op_type)
        return _NOTHING_KNOWN if self.calls_function else self.scope.traits.get(key, _NOTHING_KNOWN)

    @property
    def may_be_affine(self) -> bool:
        """Whether it is of an operator that can be an affine map."""
        return self.traits.may_be_affine

    @property
    def opset(self) -> int:
        """Version of the ONNX operator set in force here."""
        return self.scope.opsets.get("", 1)

    def has_input(self, slot: int) -> bool:
        """Whether an input is there."""
        return slot < len(self.inputs) and self.inputs[slot] is not None

    def reads_values_of(self, slot: int) -> bool:
        """Whether it reads the values of an input, not only its shape or type."""
        return self.traits.value_inputs is None or slot < self.traits.value_inputs


def canonical_domain(domain: str) -> str:
    """A domain of operators with one name for ONNX's own, which has two."""
    return "" if domain == "ai.onnx" else domain


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
    names: Names
    node_names: Names

    @property
    def main(self) -> Scope:
        """The scope of the main graph."""
        return self.scopes[0]

    def within(self, scope: Scope) -> list[Scope]:
        """The bodies of a scope's nodes and the bodies in them, in their order in `scopes`."""
        found, waiting = [], [scope]
        while waiting:
            bodies = self._bodies.get(id(waiting.pop()), [])
            found += bodies
            waiting += bodies
        return sorted(found, key=lambda body: self._order[id(body)])

    @cached_property
    def _bodies(self) -> dict[int, list[Scope]]:
        bodies: dict[int, list[Scope]] = {}
        for scope in self.scopes:
            if scope.parent is not None:
                bodies.setdefault(id(scope.parent), []).append(scope)
        return bodies

    @cached_property
    def _order(self) -> dict[int, int]:
        return {id(scope): place for place, scope in enumerate(self.scopes)}

    def nodes(self) -> Iterator[OnnxNode]:
        """All nodes, scope by scope, in the order of the file."""
        for scope in self.scopes:
            yield from scope.nodes


def subgraphs(node: onnx.NodeProto) -> Iterator[tuple[str, onnx.GraphProto]]:
    """The bodies of a node with the names of the attributes that hold them."""
    for attribute in node.attribute:
        if attribute.type == onnx.AttributeProto.GRAPH:
            yield attribute.name, attribute.g
        for graph in attribute.graphs:
            yield attribute.name, graph
