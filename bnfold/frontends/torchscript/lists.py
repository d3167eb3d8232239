"""Lists and tuples in a TorchScript graph: most are only written out and taken apart, and need no node of their own."""

from collections.abc import Callable

import torch

from bnfold.frontends.aten.graph import Argument
from bnfold.frontends.torchscript.ir import IrGraph, IrNode, IrValue, all_nodes

_BUILDERS = frozenset({"prim::ListConstruct", "prim::TupleConstruct"})
_TAKERS = frozenset({"prim::ListUnpack", "prim::TupleUnpack", "aten::__getitem__", "prim::TupleIndex"})


class Lists:
    """Which lists of a graph are fully understood.

    A list is understood where every use in the graph is an argument of an operator that does not write to it, the
    return, an unpacking, an element at a constant place, its length, or an append in the same block; appends are
    followed in order.

    Args:
        graph: the graph.
    """

    def __init__(self, graph: IrGraph) -> None:
        self._understood: set[str] = set()
        self._parts: dict[str, list[list[IrValue]]] = {}
        for node in all_nodes(graph):
            if node.kind() in _BUILDERS:
                if all(_is_harmless(use.user, node) for use in node.output().uses()):
                    self._understood.add(node.output().debugName())
            elif node.outputsSize() == 1 and _is_list_of_tensors(node.output()):
                parts = _parts_of(node.output())
                if parts is not None:
                    self._parts[node.output().debugName()] = parts

    def reads(self, node: IrNode) -> bool:
        """Whether a node only builds or takes apart a list that is understood."""
        if node.kind() in _BUILDERS:
            return node.output().debugName() in self._understood
        if node.kind() in _TAKERS or node.kind() in ("aten::append", "aten::len"):
            name = node.inputsAt(0).debugName()
            return name in self._understood or (name in self._parts and node.kind() in _TAKERS)
        return False

    def follow(
        self,
        node: IrNode,
        values: dict[str, Argument],
        argument: Callable[[IrValue], Argument],
    ) -> None:
        """Do to the list what a node does that `reads` accepted; parts of an operator's list are defined already."""
        kind = node.kind()
        if kind in _BUILDERS:
            values[node.output().debugName()] = [argument(value) for value in node.inputs()]
            return
        if node.inputsAt(0).debugName() in self._parts:
            return
        elements = argument(node.inputsAt(0))
        if kind == "aten::append":
            # A new list, because nodes that read the old one keep what they have read.
            values[node.inputsAt(0).debugName()] = [*elements, argument(node.inputsAt(1))]
        elif kind == "aten::len":
            values[node.output().debugName()] = len(elements)
        elif kind in ("aten::__getitem__", "prim::TupleIndex"):
            values[node.output().debugName()] = elements[node.inputsAt(1).toIValue()]
        else:
            for value, element in zip(node.outputs(), elements, strict=True):
                values[value.debugName()] = element

    def parts(self, value: IrValue) -> list[list[IrValue]] | None:
        """The values that hold each part of an operator's list, or None where the list is used as a whole."""
        return self._parts.get(value.debugName())


def _is_harmless(user: IrNode, builder: IrNode) -> bool:
    kind = user.kind()
    if kind in ("prim::Return", "prim::ListUnpack", "prim::TupleUnpack", *_BUILDERS):
        return kind not in _BUILDERS or builder.kind() == "prim::TupleConstruct"
    if kind in ("aten::__getitem__", "prim::TupleIndex"):
        return isinstance(user.inputsAt(1).toIValue(), int)
    if kind == "aten::append":
        return (
            user.inputsAt(0).debugName() == builder.output().debugName()
            and not user.output().uses()
            and _same_block(user, builder)
        )
    if list(user.blocks()) or kind.startswith("prim::") or user.schema() == "(no schema)":
        return False
    schema = torch._C.parse_schema(user.schema())
    written = any(entry.alias_info is not None and entry.alias_info.is_write for entry in schema.arguments)
    return not written and bool(_appends_nowhere(builder) or _same_block(user, builder))


def _appends_nowhere(builder: IrNode) -> bool:
    return not any(use.user.kind() == "aten::append" for use in builder.output().uses())


def _same_block(a: IrNode, b: IrNode) -> bool:
    first, second = a.owningBlock(), b.owningBlock()
    return bool(first.paramNode() == second.paramNode())


def _is_list_of_tensors(value: IrValue) -> bool:
    return bool(value.type().kind() == "ListType" and value.type().getElementType().kind() == "TensorType")


def _parts_of(value: IrValue) -> list[list[IrValue]] | None:
    """Who holds each part, where a list is only taken apart, with all places known."""
    holders: dict[int, list[IrValue]] = {}
    length = 0
    for use in value.uses():
        node = use.user
        if node.kind() == "prim::ListUnpack":
            length = max(length, node.outputsSize())
            for place, part in enumerate(node.outputs()):
                holders.setdefault(place, []).append(part)
        elif node.kind() == "aten::__getitem__" and isinstance(node.inputsAt(1).toIValue(), int):
            place = node.inputsAt(1).toIValue()
            if place < 0:
                return None
            holders.setdefault(place, []).append(node.output())
        else:
            return None
    count = max([length, *(place + 1 for place in holders)])
    return [holders.get(place, []) for place in range(count)]
