"""A prepared TorchScript graph as an AtenGraph: attribute chains, constants and lists are read, blocks become flat.

Bodies of branches and loops are listed behind the node that holds them. That node reads whatever a body takes from
outside, and a body's results are pinned: so folds work inside a body, and nothing crosses its edge.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from bnfold.frontends.aten.graph import (
    ARITHMETIC,
    UNKNOWN,
    Argument,
    AtenGraph,
    Node,
    Value,
    reads_values,
)
from bnfold.frontends.aten.mutation import settle_mutations
from bnfold.frontends.aten.schema import Traits, traits
from bnfold.frontends.torchscript.attributes import Attributes, Place
from bnfold.frontends.torchscript.ir import IrBlock, IrNode, IrSchema, IrValue
from bnfold.frontends.torchscript.labels import Labels
from bnfold.frontends.torchscript.lists import Lists
from bnfold.frontends.torchscript.observe import Form
from bnfold.frontends.torchscript.prepare import Prepared
from bnfold.frontends.torchscript.written import written_places

# They give back what they were given, of a narrower type.
_PASSED_ON = frozenset({"prim::unchecked_cast", "aten::_unwrap_optional"})
_NO_TRAITS = Traits(frozenset(), frozenset())


@dataclass(frozen=True)
class Lifted:
    """A program in both forms.

    Attributes:
        graph: values have the torch._C.Value that holds them as origin, or the Place for parameters that a module
            holds; nodes the torch._C.Node.
        prepared: the program itself.
        values: all values that the program has of its own.
    """

    graph: AtenGraph
    prepared: Prepared
    values: tuple[Value, ...]


def lift(prepared: Prepared, forms: Mapping[str, Form]) -> Lifted:
    """Read a program.

    Args:
        prepared: it is not changed.
        forms: what is known of its tensors, by name.
    """
    lifting = _Lifting(prepared, forms)
    lifting.run()
    settle_mutations(lifting.graph)
    made = [value for node in lifting.graph.nodes for value in node.outputs if value is not None]
    return Lifted(lifting.graph, prepared, (*lifting.graph.inputs, *made))


class _Lifting:
    def __init__(self, prepared: Prepared, forms: Mapping[str, Form]) -> None:
        self.graph = AtenGraph(names=set(prepared.module.state_dict()))
        self._prepared = prepared
        self._forms = forms
        self._attributes = Attributes(prepared.root, prepared.graph)
        self._written = written_places(prepared)
        self._labels = Labels(self._attributes)
        self._lists = Lists(prepared.graph)
        self._values: dict[str, Argument] = {}
        self._places: dict[tuple[Any, str], Argument] = {}
        self._parameter_names: set[str] = set()

    def run(self) -> None:
        """Define inputs, then everything in order, then what the caller gets."""
        itself, *inputs = self._prepared.graph.inputs()
        self._define(itself, UNKNOWN)
        for value in inputs:
            self._define(value, self.graph.add_input(self._new_value(value, self._labels.input(value), is_input=True)))
        self._lift_block(self._prepared.graph)
        for value in self._prepared.graph.outputs():
            self._pin(self._argument(value))

    def _lift_block(self, block: IrBlock) -> list[Node]:
        added: list[Node] = []
        for node in list(block.nodes()):
            added += self._lift_node(node)
        return added

    def _lift_node(self, node: IrNode) -> list[Node]:
        kind = node.kind()
        if kind == "prim::Constant":
            self._define(node.output(), self._constant(node))
        elif kind == "prim::GetAttr":
            self._define(node.output(), self._attribute(node))
        elif kind in _PASSED_ON:
            self._define(node.output(), self._argument(node.inputsAt(0)))
        elif self._lists.reads(node):
            self._lists.follow(node, self._values, self._argument)
        elif list(node.blocks()):
            return self._lift_branch(node)
        elif kind == "aten::unbind" and self._lists.parts(node.output()) is not None:
            return self._lift_unbind(node)
        else:
            return [self._lift_operator(node)]
        return []

    def _lift_unbind(self, node: IrNode) -> list[Node]:
        """One selection per part, which says the same and is decoded."""
        source, axis = map(self._argument, node.inputs())
        selections = []
        for index, holders in enumerate(self._lists.parts(node.output()) or ()):
            if holders:
                label = self._labels.node(node)
                arguments = {"self": source, "dim": axis, "index": index}
                output = self._output(holders, label)
                selection = Node("aten::select", arguments, [output], label, views=frozenset({"self"}), origin=node)
                selections.append(self.graph.append(selection))
        return selections

    def _lift_operator(self, node: IrNode) -> Node:
        schema = _schema_of(node)
        lifted = Node(
            _operator_name(node, schema),
            dict(zip(_argument_names(node, schema), map(self._argument, node.inputs()), strict=True)),
            [],
            self._labels.node(node),
            origin=node,
        )
        effects = _NO_TRAITS if schema is None else traits(schema)
        lifted.writes, lifted.views = effects.writes, effects.views
        lifted.outputs = self._outputs(node, lifted.label)
        return self.graph.append(lifted)

    def _outputs(self, node: IrNode, label: str) -> list[Value | None]:
        """One value per result; a list that is only taken apart has one per part."""
        outputs = list(node.outputs())
        parts = self._lists.parts(outputs[0]) if len(outputs) == 1 else None
        if parts is not None:
            return [self._output(part, f"{label}_{index}") if part else None for index, part in enumerate(parts)]
        several = len(outputs) > 1
        return [self._output([value], f"{label}_{i}" if several else label) for i, value in enumerate(outputs)]

    def _output(self, holders: Sequence[IrValue], name: str) -> Value:
        value = self._new_value(holders[0], name)
        for holder in holders:
            self._define(holder, value)
        return value

    def _lift_branch(self, node: IrNode) -> list[Node]:
        """A prim::If, prim::Loop or the like, and behind it all that its bodies hold."""
        arguments: dict[str, Argument] = {"inputs": [self._argument(value) for value in node.inputs()]}
        branch = Node(node.kind(), arguments, [], self._labels.node(node), origin=node)
        branch.outputs = [self._output([value], branch.label) for value in node.outputs()]
        self.graph.append(branch)
        inner: list[Node] = []
        for block in node.blocks():
            for value in block.inputs():
                self._define(value, self.graph.add_input(self._new_value(value, branch.label)))
            inner += self._lift_block(block)
            for value in block.outputs():
                self._pin(self._argument(value))
        _capture(branch, inner)
        return [branch, *inner]

    def _constant(self, node: IrNode) -> Argument:
        constant = node.output().toIValue()
        if not isinstance(constant, torch.Tensor):
            return constant
        return self._parameter(self.graph.fresh_name(self._labels.constant(node)), constant, node.output())

    def _attribute(self, node: IrNode) -> Argument:
        """What a module holds; one value however often it is read."""
        place = self._attributes.place(node)
        if place is None:
            return UNKNOWN
        key = (place.owner, place.name)
        if key not in self._places:
            self._places[key] = self._held(place)
        return self._places[key]

    def _held(self, place: Place) -> Argument:
        held = place.value
        is_fixed = (place.owner, place.name) not in self._written
        if isinstance(held, torch.Tensor):
            name = place.dotted
            if name in self._parameter_names:
                name = self.graph.fresh_name(name)
            self._parameter_names.add(name)
            return self._parameter(name, held if is_fixed else None, place)
        if is_fixed and _is_plain(held):
            return held
        return UNKNOWN

    def _parameter(self, name: str, tensor: torch.Tensor | None, origin: object) -> Value:
        shape, dtype = (None, None) if tensor is None else (tuple(tensor.shape), tensor.dtype)
        tensor = None if tensor is None else tensor.detach()
        return self.graph.add_input(Value(name, parameter=tensor, shape=shape, dtype=dtype, origin=origin))

    def _new_value(self, value: IrValue, wanted: str, *, is_input: bool = False) -> Value:
        form = self._forms.get(value.debugName(), Form(None, None))
        name = self.graph.fresh_name(wanted)
        return Value(name, is_input=is_input, shape=form.shape, dtype=form.dtype, origin=value)

    def _argument(self, value: IrValue) -> Argument:
        return self._values[value.debugName()]

    def _define(self, value: IrValue, argument: Argument) -> None:
        self._values[value.debugName()] = argument

    def _pin(self, argument: Argument) -> None:
        if isinstance(argument, Value):
            argument.is_output = True
        elif isinstance(argument, (list, tuple)):
            for element in argument:
                self._pin(element)


def _schema_of(node: IrNode) -> IrSchema | None:
    text = node.schema()
    return None if text == "(no schema)" else torch._C.parse_schema(text)


def _operator_name(node: IrNode, schema: IrSchema | None) -> str:
    """The operator; arithmetic on numbers and lists is called by its overload, so that nobody takes it for tensors'."""
    kind = str(node.kind())
    if schema is None or kind not in ARITHMETIC or any(str(result.type) == "Tensor" for result in schema.returns):
        return kind
    return f"{kind}.{schema.overload_name}"


def _argument_names(node: IrNode, schema: IrSchema | None) -> Iterator[str]:
    count = node.inputsSize()
    known = [] if schema is None else [argument.name for argument in schema.arguments]
    return iter(known if len(known) == count else [f"input_{index}" for index in range(count)])


def _is_plain(held: object) -> bool:
    if isinstance(held, (list, tuple)):
        return all(map(_is_plain, held))
    return held is None or isinstance(held, (bool, int, float, str, torch.dtype))


def _capture(branch: Node, inner: Sequence[Node]) -> None:
    """Let a node with bodies read what they read from outside."""
    made = {value for node in inner for value in node.outputs}
    captured: dict[Value, None] = {}
    for node in inner:
        for slot, value in zip(node.slots, node.inputs, strict=True):
            if value not in made and value.parameter is None and reads_values(node, slot):
                captured[value] = None
    branch.arguments["captured"] = list(captured)
    for place, value in enumerate(captured):
        value.readers.append((branch, ("captured", place)))
