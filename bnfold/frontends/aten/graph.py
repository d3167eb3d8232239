"""A program of aten operators as a graph in Python. Frontends lift programs to it and lower its journal back.

The graph is an index beside the program: nothing in it is shared with the program but the tensors of parameters, which
are only read. Every edit changes the graph and is written down (bnfold.frontends.aten.journal), in the order of the
edits; lowering repeats the journal on a copy of the program.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field

import torch

from bnfold.errors import InternalError
from bnfold.frontends.aten.journal import (
    ArgumentSet,
    JournalEntry,
    NodeAdded,
    NodeRemoved,
    OperatorReplaced,
    ParameterChanged,
    Renamed,
)
from bnfold.frontends.aten.node import Argument, AtenNode, AtenValue, Slot, values_in
from bnfold.frontends.aten.operators.row import AtenOperator
from bnfold.frontends.common.fresh_names import fresh_name


@dataclass(eq=False)
class AtenGraph:
    """A program.

    Attributes:
        inputs: what the caller gives and the parameters, in the program's order.
        names: every name that a value ever had, so that a new one never collides.
        journal: the changes since the program was lifted, the first first.
        asks_for_shapes: how to say shapes that the program leaves open; "" where nothing would help.
    """

    inputs: list[AtenValue] = field(default_factory=list)
    names: set[str] = field(default_factory=set)
    journal: list[JournalEntry] = field(default_factory=list)
    asks_for_shapes: str = ""
    _nodes: dict[AtenNode, None] = field(default_factory=dict)

    @property
    def nodes(self) -> list[AtenNode]:
        """The nodes that are there now, in the order in which they run."""
        return sorted(self._nodes, key=lambda node: node.position)

    # What lifting calls.

    def add_input(self, value: AtenValue) -> AtenValue:
        """Define an input or parameter."""
        self.names.add(value.name)
        self.inputs.append(value)
        return value

    def append(self, node: AtenNode) -> AtenNode:
        """Define a node whose inputs are all defined, as the last one so far."""
        node.position = (len(self._nodes), 0)
        self._nodes[node] = None
        for value in node.outputs:
            if value is not None:
                value.producer = node
                self.names.add(value.name)
        for slot, value in values_in(node.arguments):
            value.readers.append((node, slot))
        return node

    # What folding calls.

    def set_parameter(self, value: AtenValue, tensor: torch.Tensor) -> None:
        """Give a parameter that has one reader other values; its name stays, its shape may change."""
        value.parameter, value.shape, value.dtype = tensor, tuple(tensor.shape), tensor.dtype
        self.journal.append(ParameterChanged(value))

    def new_parameter(self, wanted: str, tensor: torch.Tensor) -> AtenValue:
        """A parameter that is not in the program yet; it gets there with the first argument that reads it."""
        shape = tuple(tensor.shape)
        return self.add_input(AtenValue(self.fresh_name(wanted), parameter=tensor, shape=shape, dtype=tensor.dtype))

    def set_argument(self, node: AtenNode, slot: Slot, argument: Argument) -> None:
        """Let a node read something else."""
        name, place = slot
        old = node.at(slot)
        if place is None:
            node.arguments[name] = argument
        else:
            node.arguments[name] = [*node.arguments[name][:place], argument, *node.arguments[name][place + 1 :]]
        _reread(node, slot, old, argument)
        self.journal.append(ArgumentSet(node, slot, argument))
        if isinstance(old, AtenValue):
            self._drop_unread([old])

    def replace_operator(self, node: AtenNode, operator: AtenOperator, arguments: dict[str, Argument]) -> None:
        """Make a node another operator with the same outputs; `arguments` may leave out those with defaults."""
        old = node.inputs
        for slot, value in values_in(node.arguments):
            value.readers.remove((node, slot))
        node.operator, node.arguments = operator, dict(arguments)
        node.writes = node.views = frozenset()
        for slot, value in values_in(node.arguments):
            value.readers.append((node, slot))
        self.journal.append(OperatorReplaced(node, operator.name, dict(arguments)))
        self._drop_unread(old)

    def add_behind(
        self, node: AtenNode, operator: AtenOperator, operand: str, arguments: dict[str, Argument], label: str
    ) -> AtenNode:
        """A new node that takes output 0 of `node` as its argument `operand`, and makes the tensor of that name."""
        result = node.outputs[0]
        if result is None:
            raise InternalError(f"{node.label!r} has no output")
        inner = AtenValue(self.fresh_name(f"{result.name}_before_bias"), node, shape=result.shape, dtype=result.dtype)
        node.outputs[0] = inner
        position = (node.position[0], node.position[1] + 1)
        added = AtenNode(operator, {operand: inner, **arguments}, [result], label, position, within=node.within)
        result.producer = added
        for slot, value in values_in(added.arguments):
            value.readers.append((added, slot))
        self._nodes[added] = None
        self.journal.append(NodeAdded(added, node, inner, result))
        return added

    def bypass(self, node: AtenNode, replacement: AtenValue) -> None:
        """Remove a node whose other outputs nobody reads: who read its first output reads `replacement`."""
        gone = node.outputs[0]
        if gone is None or any(value.readers or value.is_output for value in node.outputs[1:] if value is not None):
            raise InternalError(f"{node.label!r} cannot be removed: something reads its outputs")
        for reader, slot in gone.readers:
            _point(reader, slot, replacement)
            replacement.readers.append((reader, slot))
        gone.readers.clear()
        replacement.is_output = replacement.is_output or gone.is_output
        self.journal.append(NodeRemoved(node, gone, replacement))
        self._remove(node, keep=replacement)

    def remove(self, node: AtenNode) -> None:
        """Remove a node that nobody reads, unless it went with its last reader."""
        if node not in self._nodes:
            return
        output = node.outputs[0]
        if output is None or any(value.readers or value.is_output for value in node.outputs if value is not None):
            raise InternalError(f"{node.label!r} cannot be removed: something reads its outputs")
        self.journal.append(NodeRemoved(node, output, None))
        self._remove(node)

    def rename(self, value: AtenValue, name: str) -> None:
        """Give a value a name that no other value has any more."""
        value.name = name
        self.names.add(name)
        self.journal.append(Renamed(value, name))

    def fresh_name(self, wanted: str) -> str:
        """A name that nothing in the program has; taken from now on."""
        return fresh_name(wanted, self.names)

    def _remove(self, node: AtenNode, keep: AtenValue | None = None) -> None:
        del self._nodes[node]
        inputs = node.inputs
        for slot, value in values_in(node.arguments):
            value.readers.remove((node, slot))
        self._drop_unread([value for value in inputs if value is not keep])

    def _drop_unread(self, values: Iterable[AtenValue]) -> None:
        """Remove what made constants that nobody reads any more. Parameters without readers are the frontend's."""
        for value in values:
            producer = value.producer
            unread = not value.readers and not value.is_output
            if unread and producer is not None and producer in self._nodes and _is_idle(producer):
                self.journal.append(NodeRemoved(producer, value, None))
                self._remove(producer)


def _reread(node: AtenNode, slot: Slot, old: Argument, new: Argument) -> None:
    if isinstance(old, AtenValue):
        old.readers.remove((node, slot))
    if isinstance(new, AtenValue):
        new.readers.append((node, slot))


def _point(node: AtenNode, slot: Slot, value: AtenValue) -> None:
    name, place = slot
    if place is None:
        node.arguments[name] = value
    else:
        node.arguments[name] = [*node.arguments[name][:place], value, *node.arguments[name][place + 1 :]]


def _is_idle(node: AtenNode) -> bool:
    """Whether a node can go because nobody looks at what it makes."""
    return not node.writes and not any(value.readers or value.is_output for value in node.outputs if value is not None)
