"""Conditions that follow from the ranks of tensors alone: which branch a program takes is known before it runs."""

import operator
from collections.abc import Callable, Mapping

from bnfold.frontends.torchscript.ir import IrBlock, IrNode, IrValue, all_nodes

# What a map of channels passes in any rank, and what says nothing of values. A branch that is not taken now may run for
# tensors of other ranks: where it computes more than this, a fold beside it could change what it gives.
_HARMLESS = frozenset(
    f"aten::{name}"
    for name in """
    Float Int __and__ __contains__ __getitem__ __is__ __isnot__ __not__ __or__ _unwrap_optional append contiguous dim eq
    flatten format ge gt join le len list lt ne reshape size squeeze str unsqueeze view warn
    """.split()  # noqa: SIM905 - a list of strings would take many lines
) | {
    "prim::Constant",
    "prim::If",
    "prim::ListConstruct",
    "prim::ListUnpack",
    "prim::RaiseException",
    "prim::TupleConstruct",
    "prim::TupleIndex",
    "prim::TupleUnpack",
    "prim::Uninitialized",
    "prim::device",
    "prim::dtype",
    "prim::unchecked_cast",
}
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
    return taken if all(_is_harmless(inner) for inner in all_nodes(other)) else None


def _is_harmless(node: IrNode) -> bool:
    return node.kind() in _HARMLESS or node.kind().startswith(_RESAMPLING)


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
