"""A prepared TorchScript graph as an AtenGraph: attribute chains, constants and lists are read, blocks become flat.

Bodies of branches and loops are listed behind the node that holds them. That node reads whatever a body takes from
outside, and a body's results are pinned: so folds work inside a body, and nothing crosses its edge.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

import torch

from bnfold.frontends.aten.graph import AtenGraph
from bnfold.frontends.aten.memory import join, settle_writes
from bnfold.frontends.aten.node import UNKNOWN, Argument, AtenNode, AtenValue, reads_values, values_within
from bnfold.frontends.aten.operators.table import operator_of
from bnfold.frontends.aten.schema import effects_of
from bnfold.frontends.torchscript.flattening import Lists, taken_block
from bnfold.frontends.torchscript.ir import (
    AttributeKey,
    Attributes,
    IrBlock,
    IrGraph,
    IrNode,
    IrValue,
    ModuleObject,
)
from bnfold.frontends.torchscript.labels import Labels
from bnfold.frontends.torchscript.parameters import HeldValues
from bnfold.frontends.torchscript.prepare import Prepared
from bnfold.frontends.torchscript.schemas import argument_names, effects_without_schema, operator_name, schema_of
from bnfold.frontends.torchscript.shapes import TensorType, why_rank_may_differ

# They give back what they were given, of a narrower type.
_PASSED_ON = frozenset({"prim::unchecked_cast", "aten::_unwrap_optional"})


@dataclass(frozen=True)
class Lifted:
    """A program in both forms.

    Attributes:
        graph: values have the torch._C.Value that holds them as origin, or the Attribute for parameters that a
            module holds; nodes the torch._C.Node.
        prepared: the program itself.
        values: all values that the program has of its own.
    """

    graph: AtenGraph
    prepared: Prepared
    values: tuple[AtenValue, ...]


def lift(prepared: Prepared, types: Mapping[str, TensorType], written: Mapping[AttributeKey, str]) -> Lifted:
    """Read a program.

    Args:
        prepared: it is not changed.
        types: what is known of its tensors, by name.
        written: attributes that something else than forward changes, and the name of that.
    """
    names = set(prepared.module.state_dict())
    graph = read_graph(prepared.root, prepared.graph, names=names, types=types, written=written)
    made = [value for node in graph.nodes for value in node.outputs if value is not None]
    return Lifted(graph, prepared, (*graph.inputs, *made))


def read_graph(
    root: ModuleObject,
    graph: IrGraph,
    *,
    names: Iterable[str] = (),
    types: Mapping[str, TensorType] = MappingProxyType({}),
    written: Mapping[AttributeKey, str] = MappingProxyType({}),
) -> AtenGraph:
    """The graph of a method as an AtenGraph.

    Args:
        root: its module.
        graph: inlined and fixed to inference; its first input is the module.
        names: not to be given to anything new.
        types: what is known of its tensors, by name.
        written: attributes that something else changes, and the name of that.
    """
    lifting = _Lifting(root, graph, types, written)
    lifting.graph.names.update(names)
    lifting.run()
    settle_writes(lifting.graph)
    return lifting.graph


class _Lifting:
    def __init__(
        self,
        root: ModuleObject,
        graph: IrGraph,
        types: Mapping[str, TensorType],
        written: Mapping[AttributeKey, str],
    ) -> None:
        self.graph = AtenGraph()
        self._source = graph
        self._types = types
        self._seen: set[AtenValue] = set()
        attributes = Attributes(root, graph)
        self._held = HeldValues(self.graph, attributes, written)
        self._labels = Labels(attributes)
        self._lists = Lists(graph)
        self._values: dict[str, Argument] = {}
        self._within: AtenNode | None = None

    def run(self) -> None:
        """Define inputs, then everything in order, then what the caller gets."""
        itself, *inputs = self._source.inputs()
        self._define(itself, UNKNOWN)
        for value in inputs:
            self._define(value, self.graph.add_input(self._new_value(value, self._labels.input(value), is_input=True)))
        self._lift_block(self._source)
        for value in self._source.outputs():
            self._pin(self._argument(value))
        self._held.join_hidden()

    def _lift_block(self, block: IrBlock) -> list[AtenNode]:
        added: list[AtenNode] = []
        for node in list(block.nodes()):
            added += self._lift_node(node)
        return added

    def _lift_node(self, node: IrNode) -> list[AtenNode]:
        kind = node.kind()
        if kind == "prim::Constant":
            self._define(node.output(), self._constant(node))
        elif kind == "prim::GetAttr":
            self._define(node.output(), self._held.read(node))
        elif kind in _PASSED_ON:
            self._define(node.output(), self._argument(node.inputsAt(0)))
        elif self._lists.reads(node):
            self._lists.follow(node, self._values, self._argument)
        elif list(node.blocks()):
            taken = taken_block(node, self._rank_of)
            return self._lift_branch(node) if taken is None else self._lift_taken(node, taken)
        elif kind == "aten::unbind" and self._lists.parts(node.output()) is not None:
            return self._lift_unbind(node)
        else:
            return [self._lift_operator(node)]
        return []

    def _lift_unbind(self, node: IrNode) -> list[AtenNode]:
        """One selection per part, which says the same and is decoded."""
        source, axis = map(self._argument, node.inputs())
        selections = []
        for index, holders in enumerate(self._lists.parts(node.output()) or ()):
            if holders:
                label = self._labels.node(node)
                arguments = {"self": source, "dim": axis, "index": index}
                output = self._output(holders, label)
                selection = AtenNode(
                    operator_of("aten::select"), arguments, [output], label, views=frozenset({"self"}), origin=node
                )
                selections.append(self._append(selection))
        return selections

    def _lift_operator(self, node: IrNode) -> AtenNode:
        schema = schema_of(node)
        lifted = AtenNode(
            operator_of(operator_name(node, schema)),
            dict(zip(argument_names(node, schema), map(self._argument, node.inputs()), strict=True)),
            [],
            self._labels.node(node),
            origin=node,
        )
        effects = effects_without_schema(node, frozenset(lifted.arguments)) if schema is None else effects_of(schema)
        lifted.writes, lifted.views = effects.writes, effects.views
        lifted.outputs = self._outputs(node, lifted.label)
        if not lifted.outputs:
            shown = [value for slot, value in zip(lifted.slots, lifted.inputs, strict=True) if slot[0] in lifted.views]
            join([*shown, *self._held.set_by(node)])
        return self._append(lifted)

    def _append(self, node: AtenNode) -> AtenNode:
        node.within = self._within
        node.sealed = why_rank_may_differ(node, self._seen)
        return self.graph.append(node)

    def _outputs(self, node: IrNode, label: str) -> list[AtenValue | None]:
        """One value per result; a list that is only taken apart has one per part."""
        outputs = list(node.outputs())
        parts = self._lists.parts(outputs[0]) if len(outputs) == 1 else None
        if parts is not None:
            return [self._output(part, f"{label}_{index}") if part else None for index, part in enumerate(parts)]
        several = len(outputs) > 1
        return [self._output([value], f"{label}_{i}" if several else label) for i, value in enumerate(outputs)]

    def _output(self, holders: Sequence[IrValue], name: str) -> AtenValue:
        value = self._new_value(holders[0], name)
        for holder in holders:
            self._define(holder, value)
        return value

    def _lift_taken(self, node: IrNode, block: IrBlock) -> list[AtenNode]:
        """The branch that runs for tensors of the ranks at hand, as if it were not in a branch."""
        added = self._lift_block(block)
        for value, result in zip(node.outputs(), block.outputs(), strict=True):
            argument = self._argument(result)
            if not isinstance(argument, AtenValue):
                self._define(value, argument)
                continue
            label = self._labels.node(node)
            output = self._output([value], label)
            output.shape, output.dtype = argument.shape, argument.dtype
            if argument in self._seen:
                self._seen.add(output)
            passed = AtenNode(
                operator_of("aten::alias"), {"self": argument}, [output], label, views=frozenset({"self"}), origin=node
            )
            added.append(self._append(passed))
        return added

    def _rank_of(self, value: IrValue) -> int | None:
        held = self._values.get(value.debugName())
        return len(held.shape) if isinstance(held, AtenValue) and held.shape is not None else None

    def _lift_branch(self, node: IrNode) -> list[AtenNode]:
        """A prim::If, prim::Loop or the like, and behind it all that its bodies hold."""
        arguments: dict[str, Argument] = {"inputs": [self._argument(value) for value in node.inputs()]}
        branch = AtenNode(operator_of(node.kind()), arguments, [], self._labels.node(node), origin=node)
        branch.outputs = [self._output([value], branch.label) for value in node.outputs()]
        self._append(branch)
        outside, self._within = self._within, branch
        inner: list[AtenNode] = []
        for block in node.blocks():
            for value in block.inputs():
                entry = self.graph.add_input(self._new_value(value, branch.label))
                entry.edge = branch.label
                self._define(value, entry)
            inner += self._lift_block(block)
            for value in block.outputs():
                self._pin(self._argument(value), edge=branch.label)
            self._join_edges(node, block)
        self._within = outside
        _capture(branch, inner)
        return [branch, *inner]

    def _join_edges(self, node: IrNode, block: IrBlock) -> None:
        """What a body takes and gives shares memory with what stands for it outside, and in the next round."""
        results, outputs = list(block.outputs()), list(node.outputs())
        carried: list[tuple[IrValue, ...]] = list(zip(results[len(results) - len(outputs) :], outputs, strict=True))
        taken = list(block.inputs())
        if taken:  # a loop: its trip count and condition come first, the counter in its body
            carried = [
                (*pair, first, inner)
                for pair, first, inner in zip(carried, list(node.inputs())[2:], taken[1:], strict=True)
            ]
        for values in carried:
            join(value for held in values for value in values_within(self._argument(held)))

    def _constant(self, node: IrNode) -> Argument:
        constant = node.output().toIValue()
        if not isinstance(constant, torch.Tensor):
            return constant
        return self._held.parameter(self.graph.fresh_name(self._labels.constant(node)), constant, node.output())

    def _new_value(self, value: IrValue, wanted: str, *, is_input: bool = False) -> AtenValue:
        known = self._types.get(value.debugName(), TensorType(None, None, was_seen=False))
        name = self.graph.fresh_name(wanted)
        made = AtenValue(name, is_input=is_input, shape=known.shape, dtype=known.dtype, origin=value)
        if known.was_seen:
            self._seen.add(made)
        return made

    def _argument(self, value: IrValue) -> Argument:
        return self._values[value.debugName()]

    def _define(self, value: IrValue, argument: Argument) -> None:
        self._values[value.debugName()] = argument

    def _pin(self, argument: Argument, edge: str = "") -> None:
        if isinstance(argument, AtenValue):
            argument.is_output = True
            argument.edge = edge
        elif isinstance(argument, (list, tuple)):
            for element in argument:
                self._pin(element, edge)


def _capture(branch: AtenNode, inner: Sequence[AtenNode]) -> None:
    """Let a node with bodies read what they read from outside."""
    made = {value for node in inner for value in node.outputs}
    captured: dict[AtenValue, None] = {}
    for node in inner:
        for slot, value in zip(node.slots, node.inputs, strict=True):
            if value not in made and value.parameter is None and reads_values(node, slot):
                captured[value] = None
    branch.arguments["captured"] = list(captured)
    for place, value in enumerate(captured):
        value.readers.append((branch, ("captured", place)))
