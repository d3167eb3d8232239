"""What the modules of a program hold, as arguments in an AtenGraph: parameters, state, and what is only reached at run
time.
"""

from collections.abc import Iterator, Mapping
from dataclasses import replace

import torch

from bnfold.frontends.aten.graph import AtenGraph
from bnfold.frontends.aten.memory import join, storage_of
from bnfold.frontends.aten.node import UNKNOWN, Argument, AtenValue
from bnfold.frontends.torchscript.ir import (
    UNREADABLE,
    Attribute,
    AttributeKey,
    Attributes,
    IrNode,
    parameter_name,
    tensors_in,
)

SETTING = "prim::SetAttr"
# Nothing of these types is or holds a tensor.
_WITHOUT_TENSORS = frozenset({"BoolType", "FloatType", "IntType", "NoneType", "NumberType", "StringType"})


class HeldValues:
    """Reads attributes for one graph.

    Args:
        graph: gets a value for every tensor that is read.
        attributes: of the program's own graph.
        written: attributes that something else than this graph changes, and the name of that.

    Attributes:
        elsewhere: stands for all tensors that are only reached at run time: in lists, dicts and objects.
    """

    def __init__(self, graph: AtenGraph, attributes: Attributes, written: Mapping[AttributeKey, str]) -> None:
        self.elsewhere = graph.add_input(AtenValue("what the module holds elsewhere", is_input=True))
        self._graph = graph
        self._attributes = attributes
        self._written = written
        self._set = set(attributes.writes())
        self._arguments: dict[AttributeKey, Argument] = {}
        self._states: dict[AttributeKey, AtenValue] = {}
        self._names: set[str] = set()
        self._containers: list[object] = []

    def read(self, node: IrNode) -> Argument:
        """What a prim::GetAttr reads; one value however often it is read, unless the graph sets it."""
        attribute = self._attributes.at(node)
        if attribute is None:
            return UNKNOWN if node.output().type().kind() in _WITHOUT_TENSORS else self.elsewhere
        if attribute.key in self._set and isinstance(attribute.value, torch.Tensor):
            return self._state(attribute, node.output())
        return self._argument(attribute)

    def set_by(self, node: IrNode) -> Iterator[AtenValue]:
        """What stands for the attribute that a prim::SetAttr sets; nothing for other nodes."""
        attribute = self._attributes.at(node) if node.kind() == SETTING else None
        if attribute is not None and isinstance(attribute.value, torch.Tensor):
            yield self._state(attribute, None)
        elif attribute is not None:
            yield self.elsewhere

    def parameter(self, name: str, tensor: torch.Tensor, origin: object) -> AtenValue:
        """A value that is this tensor."""
        shape = tuple(tensor.shape)
        return self._graph.add_input(
            AtenValue(name, parameter=tensor.detach(), shape=shape, dtype=tensor.dtype, origin=origin)
        )

    def join_hidden(self) -> None:
        """Once all is read: parameters that may also be in a list, dict or object share memory with what is there."""
        for value in self._graph.inputs:
            if value.parameter is not None and self._may_be_hidden(value.parameter):
                join([value, self.elsewhere])

    def _state(self, attribute: Attribute, origin: object) -> AtenValue:
        """What a module holds at one time, where the program sets it; all these may be one tensor."""
        name = self._graph.fresh_name(attribute.dotted)
        value = self._graph.add_input(AtenValue(name, is_input=True, mutation=SETTING, origin=origin))
        first = self._states.setdefault(attribute.key, value)
        if first is not value:
            join([first, value])
        return value

    def _argument(self, attribute: Attribute) -> Argument:
        if attribute.key not in self._arguments:
            self._arguments[attribute.key] = self._new_argument(attribute)
        return self._arguments[attribute.key]

    def _new_argument(self, attribute: Attribute) -> Argument:
        held = attribute.value
        changed_by = SETTING if attribute.key in self._set else self._written.get(attribute.key)
        if isinstance(held, torch.Tensor):
            name = self._graph.fresh_name(attribute.dotted) if attribute.dotted in self._names else attribute.dotted
            self._names.add(name)
            parameter = self.parameter(name, held, attribute)
            parameter.mutation = changed_by or ""
            return parameter
        if changed_by is None and _is_plain(held):
            return held
        if changed_by is None and isinstance(held, list):
            members = [self._member(attribute, tensor) for tensor in held]
            if members and None not in members:
                return members
        if _is_plain(held) or isinstance(held, torch._C.ScriptModule):
            return UNKNOWN
        self._containers.append(held)
        return self.elsewhere

    def _member(self, attribute: Attribute, element: object) -> Argument:
        """The parameter of the same module that an element of a list is, as in nn.LSTM; None where it is none."""
        own = replace(attribute, name=parameter_name(attribute.owner, element))
        return None if not own.name or own.key in self._set else self._argument(own)

    def _may_be_hidden(self, tensor: torch.Tensor) -> bool:
        storage = storage_of(tensor)
        return storage is not None and any(
            held is UNREADABLE or storage in map(storage_of, tensors_in(held)) for held in self._containers
        )


def _is_plain(held: object) -> bool:
    if isinstance(held, (list, tuple)):
        return all(map(_is_plain, held))
    return held is None or isinstance(held, (bool, int, float, str, torch.dtype))
