"""The journal of an AtenGraph, repeated on the TorchScript graph that it was lifted from."""

from functools import cached_property
from typing import Any

import torch

from bnfold.errors import InternalError
from bnfold.frontends.aten.graph import Argument, AtenNode, AtenValue
from bnfold.frontends.aten.journal import (
    ArgumentSet,
    JournalEntry,
    NodeAdded,
    NodeRemoved,
    OperatorReplaced,
    ParameterChanged,
)
from bnfold.frontends.torchscript.attributes import Attributes, Place, member_name
from bnfold.frontends.torchscript.edit import (
    input_index,
    insert_attribute,
    insert_constant,
    insert_list,
    insert_operator,
)
from bnfold.frontends.torchscript.homes import Home, Homes
from bnfold.frontends.torchscript.ir import IrNode, IrValue, all_nodes
from bnfold.frontends.torchscript.lift import Lifted
from bnfold.frontends.torchscript.methods import PlaceKey


class Replay:
    """Carries out a journal.

    Args:
        lifted: the program, folded in the AtenGraph only.
        homes: where new parameters go.

    Attributes:
        changed: places that hold other values now.
    """

    def __init__(self, lifted: Lifted, homes: Homes) -> None:
        self.changed: set[PlaceKey] = set()
        self._aten = lifted.graph
        self._graph = lifted.prepared.graph
        self._root = lifted.prepared.root
        self._homes = homes
        self._in_constants = not any(isinstance(value.origin, Place) for value in self._aten.inputs)
        self._nodes: dict[AtenNode, IrNode] = {}
        # By name, because what Python holds of a value must not be touched once its node is gone.
        self._names: dict[AtenValue, str] = {}
        self._live: dict[str, IrValue] = {}
        self._moved: dict[str, str] = {}
        for value in lifted.values:
            if isinstance(value.origin, torch._C.Value):
                self._hold(value, value.origin)
        self._new: dict[AtenValue, Home] = {}
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
        for value, home in self._new.items():
            self._homes.furnish(home, _present(value))

    def _repeat(self, change: JournalEntry) -> None:
        match change:
            case ParameterChanged():
                self._changed[change.value] = None
                if isinstance(change.value.origin, Place) and self._is_protected(change.value.origin):
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
        if isinstance(argument.origin, Place):
            return insert_attribute(self._graph, before, self._root, argument.origin.path, argument.origin.name)
        return self._read_new(argument, before)

    def _read_new(self, value: AtenValue, before: IrNode) -> IrValue:
        """A parameter that is not in the program yet: a constant where all are, else an attribute of a module."""
        if self._in_constants:
            start = next(iter(self._graph.nodes()))
            self._hold(value, insert_constant(self._graph, start, _present(value)))
            return self._live[self._names[value]]
        if value not in self._new:
            self._new[value] = self._homes.reserve(value.name)
        home = self._new[value]
        return insert_attribute(self._graph, before, self._root, home.path, home.name)

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
            return
        replacement = self._read(change.replacement, node)
        if output is None:
            raise InternalError(f"{change.node.label!r} cannot be removed: a tensor is missing")
        self._move(output, replacement)
        node.destroy()

    def _change_parameter(self, value: AtenValue) -> None:
        tensor, place = _present(value), value.origin
        if not isinstance(place, Place):
            old = self.holder(value)
            if old is not None:
                self._move(old, insert_constant(self._graph, old.node(), tensor))
        elif self._is_protected(place):
            self._reroute(place, tensor)
        else:
            lists = self._lists_with(place)
            place.owner.setattr(place.name, tensor.requires_grad_(place.value.requires_grad))
            self.changed.add((place.owner, place.name))
            for name, members in lists.items():
                place.owner.setattr(name, [place.owner.getattr(member) for member in members])

    def _is_protected(self, place: Place) -> bool:
        """Whether another method reads it, alone or in a list."""
        names = (place.name, *self._lists_with(place))
        return any((place.owner, name) in self._homes.protected for name in names)

    def _lists_with(self, place: Place) -> dict[str, list[str]]:
        """The lists of the same module that forward reads and that hold a parameter: the names of their elements."""
        found = {}
        for owner, name in self._readings:
            held = owner.getattr(name) if owner == place.owner and name in self._list_names else None
            members = [member_name(owner, element) for element in held or ()]
            if place.name in members:
                found[name] = members
        return found

    def _reroute(self, place: Place, tensor: torch.Tensor) -> None:
        """Forward gets a parameter of its own where another method reads the old one."""
        home = self._homes.reserve(f"{place.dotted}_folded")
        self._homes.furnish(home, tensor)
        for node in self._find_readings().get((place.owner, place.name), ()):
            own = insert_attribute(self._graph, node, self._root, home.path, home.name)
            node.output().replaceAllUsesWith(own)

    @cached_property
    def _readings(self) -> dict[PlaceKey, list[IrNode]]:
        return self._find_readings()

    @cached_property
    def _list_names(self) -> set[str]:
        """Names of the attributes that forward reads as lists."""
        return {
            name
            for (_, name), nodes in self._readings.items()
            if any(node.output().type().kind() == "ListType" for node in nodes)
        }

    def _find_readings(self) -> dict[PlaceKey, list[IrNode]]:
        """The nodes of forward that read each place of a module."""
        attributes = Attributes(self._root, self._graph)
        found: dict[PlaceKey, list[IrNode]] = {}
        for node in all_nodes(self._graph):
            place = attributes.place(node) if node.kind() == "prim::GetAttr" else None
            if place is not None:
                found.setdefault((place.owner, place.name), []).append(node)
        return found


def _holds_values(argument: Argument) -> bool:
    if isinstance(argument, (list, tuple)):
        return any(map(_holds_values, argument))
    return isinstance(argument, AtenValue)


def _present(value: AtenValue) -> torch.Tensor:
    if value.parameter is None:
        raise InternalError(f"{value.name!r} is no parameter")
    return value.parameter
