"""The journal of an AtenGraph, repeated on the TorchScript graph that it was lifted from."""

from functools import cached_property
from typing import Any

import torch

from bnfold.errors import InternalError
from bnfold.frontends.aten.journal import (
    ArgumentSet,
    JournalEntry,
    NodeAdded,
    NodeRemoved,
    OperatorReplaced,
    ParameterChanged,
)
from bnfold.frontends.aten.node import Argument, AtenNode, AtenValue
from bnfold.frontends.torchscript.insertion import insert_attribute, insert_constant, insert_list, insert_operator
from bnfold.frontends.torchscript.ir import (
    Attribute,
    AttributeKey,
    Attributes,
    IrNode,
    IrValue,
    parameter_name,
)
from bnfold.frontends.torchscript.lift import Lifted
from bnfold.frontends.torchscript.members import NewAttribute, ParameterPlacement
from bnfold.frontends.torchscript.schemas import input_index


class Replay:
    """Carries out a journal.

    Args:
        lifted: the program, folded in the AtenGraph only.
        placement: of new parameters.

    Attributes:
        changed: attributes that hold other values now.
    """

    def __init__(self, lifted: Lifted, placement: ParameterPlacement) -> None:
        self.changed: set[AttributeKey] = set()
        self._aten = lifted.graph
        self._graph = lifted.prepared.graph
        self._root = lifted.prepared.root
        self._placement = placement
        self._in_constants = not any(isinstance(value.origin, Attribute) for value in self._aten.inputs)
        self._nodes: dict[AtenNode, IrNode] = {}
        # By name, because what Python holds of a value must not be touched once its node is gone.
        self._names: dict[AtenValue, str] = {}
        self._live: dict[str, IrValue] = {}
        self._moved: dict[str, str] = {}
        for value in lifted.values:
            if isinstance(value.origin, torch._C.Value):
                self._hold(value, value.origin)
        self._new: dict[AtenValue, NewAttribute] = {}
        self._changed: dict[AtenValue, None] = {}
        self._lists: dict[tuple[AtenNode, str], None] = {}

    def run(self) -> None:
        """Repeat every change, then write the parameters."""
        for change in self._aten.journal:
            self._repeat(change)
        for node, name in self._lists:
            self._rebuild_list(node, name)
        for value in self._changed:
            if value.origin is not None:
                self._change_parameter(value)
        for value, new in self._new.items():
            self._placement.fill(new, _present(value))

    def _repeat(self, change: JournalEntry) -> None:
        match change:
            case ParameterChanged():
                self._changed[change.value] = None
                if isinstance(change.value.origin, Attribute) and self._is_protected(change.value.origin):
                    lists = [(node, slot[0]) for node, slot in change.value.readers if slot[1] is not None]
                    self._lists |= dict.fromkeys(lists)
            case ArgumentSet():
                self._set_argument(change.node, change.slot, change.argument)
            case OperatorReplaced():
                self._replace_operator(change)
            case NodeAdded():
                self._add_behind(change)
            case NodeRemoved():
                self._remove(change)

    def holder(self, value: AtenValue) -> IrValue | None:
        """What holds a value of the AtenGraph in the graph as it is now; None for parameters of modules."""
        name = self._names.get(value)
        while name in self._moved:
            name = self._moved[name]
        return None if name is None else self._live[name]

    def _hold(self, value: AtenValue, holder: IrValue) -> None:
        self._names[value] = holder.debugName()
        self._live[holder.debugName()] = holder

    def _move(self, old: IrValue, new: IrValue) -> None:
        """Who read the one reads the other."""
        self._live[new.debugName()] = new
        self._moved[old.debugName()] = new.debugName()
        old.replaceAllUsesWith(new)

    def respell(self, node: AtenNode, op: str) -> None:
        """Make a node another operator that takes the same arguments."""
        old = self._node(node)
        new = self._graph.create(op, list(old.inputs()))
        new.output().setType(old.output().type())
        new.insertAfter(old).copyMetadata(old)
        self._move(old.output(), new.output())
        old.destroy()

    def _node(self, node: AtenNode) -> IrNode:
        return self._nodes.get(node, node.origin)

    def _read(self, argument: Argument, before: IrNode) -> IrValue:
        """An argument, readable at a node."""
        if isinstance(argument, (list, tuple)) and any(isinstance(element, AtenValue) for element in argument):
            return insert_list(self._graph, before, [self._read(element, before) for element in argument])
        if not isinstance(argument, AtenValue):
            return insert_constant(self._graph, before, argument)
        held = self.holder(argument)
        if held is not None:
            return held
        if isinstance(argument.origin, Attribute):
            return insert_attribute(self._graph, before, self._root, argument.origin.path, argument.origin.name)
        return self._read_new(argument, before)

    def _read_new(self, value: AtenValue, before: IrNode) -> IrValue:
        """A parameter that is not in the program yet: a constant where all are, else an attribute of a module."""
        if self._in_constants:
            start = next(iter(self._graph.nodes()))
            self._hold(value, insert_constant(self._graph, start, _present(value)))
            return self._live[self._names[value]]
        if value not in self._new:
            self._new[value] = self._placement.reserve(value.name)
        new = self._new[value]
        return insert_attribute(self._graph, before, self._root, new.path, new.name)

    def _set_argument(self, node: AtenNode, slot: tuple[str, int | None], argument: Argument) -> None:
        name, place = slot
        if place is not None:
            self._lists[node, name] = None
            return
        target = self._node(node)
        target.replaceInput(input_index(target, name), self._read(argument, target))

    def _rebuild_list(self, node: AtenNode, name: str) -> None:
        target = self._node(node)
        target.replaceInput(input_index(target, name), self._read(node.arguments[name], target))

    def _replace_operator(self, change: OperatorReplaced) -> None:
        old = self._node(change.node)
        arguments = self._arguments(change.arguments, old)
        new = insert_operator(self._graph, old, change.op, arguments)
        self._nodes[change.node] = new
        self._move(old.output(), new.output())
        old.destroy()

    def _add_behind(self, change: NodeAdded) -> None:
        after = self._node(change.after)
        inner = after.outputsAt(0)
        self._hold(change.inner, inner)
        arguments = self._arguments(change.node.arguments, after)
        readers = [(use.user, use.offset) for use in inner.uses()]
        new = insert_operator(self._graph, after, change.node.op, arguments)
        for user, offset in readers:
            user.replaceInput(offset, new.output())
        self._nodes[change.node] = new
        self._hold(change.result, new.output())

    def _arguments(self, arguments: Any, before: IrNode) -> dict[str, Any]:  # noqa: ANN401 - a mapping
        """Values as the graph holds them; constants as they are, for the schema to place."""
        return {
            name: self._read(argument, before) if _holds_values(argument) else argument
            for name, argument in arguments.items()
        }

    def _remove(self, change: NodeRemoved) -> None:
        """Who read the output reads the replacement. What only made constants goes with the dead code."""
        node, output = self._node(change.node), self.holder(change.output)
        if change.replacement is None:
            if change.node.writes:  # which torch takes for a reason to keep it
                node.destroy()
            return
        replacement = self._read(change.replacement, node)
        if output is None:
            raise InternalError(f"{change.node.label!r} cannot be removed: a tensor is missing")
        self._move(output, replacement)
        node.destroy()

    def _change_parameter(self, value: AtenValue) -> None:
        tensor, held = _present(value), value.origin
        if not isinstance(held, Attribute):
            old = self.holder(value)
            if old is not None:
                self._move(old, insert_constant(self._graph, old.node(), tensor))
        elif self._is_protected(held):
            self._reroute(held, tensor)
        else:
            lists = self._lists_with(held)
            held.owner.setattr(held.name, tensor.requires_grad_(held.value.requires_grad))
            self.changed.add(held.key)
            for name, members in lists.items():
                held.owner.setattr(name, [held.owner.getattr(member) for member in members])

    def _is_protected(self, held: Attribute) -> bool:
        """Whether another method reads it, alone or in a list."""
        names = (held.name, *self._lists_with(held))
        return any((held.owner, name) in self._placement.protected for name in names)

    def _lists_with(self, parameter: Attribute) -> dict[str, list[str]]:
        """The lists of the same module that forward reads and that hold a parameter: the names of their elements."""
        found = {}
        for owner, name in self._readings:
            held = owner.getattr(name) if owner == parameter.owner and name in self._list_names else None
            members = [parameter_name(owner, element) for element in held or ()]
            if parameter.name in members:
                found[name] = members
        return found

    def _reroute(self, held: Attribute, tensor: torch.Tensor) -> None:
        """Forward gets a parameter of its own where another method reads the old one."""
        new = self._placement.reserve(f"{held.dotted}_folded")
        self._placement.fill(new, tensor)
        for node in Attributes(self._root, self._graph).reads().get(held.key, ()):
            own = insert_attribute(self._graph, node, self._root, new.path, new.name)
            node.output().replaceAllUsesWith(own)

    @cached_property
    def _readings(self) -> dict[AttributeKey, list[IrNode]]:
        return Attributes(self._root, self._graph).reads()

    @cached_property
    def _list_names(self) -> set[str]:
        """Names of the attributes that forward reads as lists."""
        return {
            name
            for (_, name), nodes in self._readings.items()
            if any(node.output().type().kind() == "ListType" for node in nodes)
        }


def _holds_values(argument: Argument) -> bool:
    if isinstance(argument, (list, tuple)):
        return any(map(_holds_values, argument))
    return isinstance(argument, AtenValue)


def _present(value: AtenValue) -> torch.Tensor:
    if value.parameter is None:
        raise InternalError(f"{value.name!r} is no parameter")
    return value.parameter
