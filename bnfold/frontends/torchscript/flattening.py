"""What lifting makes flat: lists and tuples that are only built and taken apart, and branches that ranks decide.

Most lists in a TorchScript graph need no node of their own. And where a condition follows from the ranks of tensors
alone, it is known before the program runs which branch it takes.
"""

import operator
from collections.abc import Callable, Mapping

import torch

from bnfold.frontends.aten.node import Argument
from bnfold.frontends.torchscript.ir import IrBlock, IrGraph, IrNode, IrValue, all_nodes

_BUILDERS = frozenset({"prim::ListConstruct", "prim::TupleConstruct"})
_TAKERS = frozenset({"prim::ListUnpack", "prim::TupleUnpack", "aten::__getitem__", "prim::TupleIndex"})
# What a map of channels passes in any rank, and what says nothing of values. A branch that is not taken now may run for
# tensors of other ranks: where it computes more than this, a fold beside it could change what it gives.
_MOVES_DATA = frozenset(
    f"aten::{name}"
    for name in """
    Float Int __and__ __contains__ __getitem__ __is__ __isnot__ __not__ __or__ _unwrap_optional append contiguous dim eq
    flatten format ge gt join le len list lt ne reshape size squeeze str unsqueeze view warn
    """.split()  # noqa: SIM905 - a list of strings would take many lines
) | frozenset(
    f"prim::{name}"
    for name in """
    Constant If ListConstruct ListUnpack RaiseException TupleConstruct TupleIndex TupleUnpack Uninitialized device dtype
    unchecked_cast
    """.split()  # noqa: SIM905 - a list of strings would take ten lines
)
_RESAMPLING = ("aten::upsample_", "aten::_upsample_")

RankOf = Callable[[IrValue], int | None]
"""The rank of a tensor; None where it is not known."""

_BINARY: Mapping[str, Callable[[int, int], bool]] = {
    "aten::__and__": lambda a, b: bool(a and b),
    "aten::__or__": lambda a, b: bool(a or b),
    "aten::eq": operator.eq,
    "aten::ge": operator.ge,
    "aten::gt": operator.gt,
    "aten::le": operator.le,
    "aten::lt": operator.lt,
    "aten::ne": operator.ne,
}


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
                if all(_is_understood(use.user, node) for use in node.output().uses()):
                    self._understood.add(node.output().debugName())
            elif node.outputsSize() == 1 and not list(node.blocks()) and _is_list_of_tensors(node.output()):
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


def _is_understood(user: IrNode, builder: IrNode) -> bool:
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


def taken_block(node: IrNode, rank_of: RankOf) -> IrBlock | None:
    """The branch of a prim::If that runs for tensors of these ranks.

    None where ranks do not decide, and where the other branch does more than move what it is given, or refuse it.
    """
    if node.kind() != "prim::If":
        return None
    decided = _value(node.inputsAt(0), rank_of)
    if decided is None:
        return None
    taken, other = list(node.blocks())[:: 1 if decided else -1]
    return taken if all(map(_only_moves_data, all_nodes(other))) else None


def _only_moves_data(node: IrNode) -> bool:
    return node.kind() in _MOVES_DATA or node.kind().startswith(_RESAMPLING)


def _value(value: IrValue, rank_of: RankOf) -> int | bool | None:
    """A number or truth value; None where it is not known. Conditions are small, and so is the depth here."""
    node = value.node()
    kind = node.kind()
    if kind == "prim::Constant":
        constant = value.toIValue()
        return constant if isinstance(constant, (bool, int)) else None
    if kind == "aten::dim":
        return rank_of(node.inputsAt(0))
    if kind == "aten::__not__":
        inner = _value(node.inputsAt(0), rank_of)
        return None if inner is None else not inner
    if kind == "aten::__contains__":
        return _contains(node, rank_of)
    if kind == "prim::If":
        block = taken_block(node, rank_of)
        place = [output.debugName() for output in node.outputs()].index(value.debugName())
        return None if block is None else _value(list(block.outputs())[place], rank_of)
    if kind in _BINARY:
        left, right = (_value(operand, rank_of) for operand in node.inputs())
        return None if left is None or right is None else _BINARY[kind](left, right)
    return None


def _contains(node: IrNode, rank_of: RankOf) -> bool | None:
    holder, wanted = node.inputsAt(0), _value(node.inputsAt(1), rank_of)
    if holder.node().kind() == "prim::ListConstruct":
        elements = [_value(element, rank_of) for element in holder.node().inputs()]
    else:
        elements = holder.toIValue() if isinstance(holder.toIValue(), list) else [None]
    return None if wanted is None or None in elements else wanted in elements
