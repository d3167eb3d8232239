"""Ranks and types that a program itself fixes, where nobody says what it is run on.

A scripted nn.BatchNorm2d raises unless its input has four axes; the convolution of a trace takes as many axes as its
weight has, and any convolution takes and gives the type of its weight. From there, both are carried on through
operators that keep them. Lengths stay unknown.
"""

import re
from collections.abc import Iterator
from itertools import count
from typing import TypeVar

import torch

from bnfold.frontends.aten.operators import operator_of
from bnfold.frontends.aten.row import Keeps
from bnfold.frontends.torchscript.attributes import Attributes
from bnfold.frontends.torchscript.ir import IrNode, IrValue, all_nodes
from bnfold.frontends.torchscript.observe import Form
from bnfold.frontends.torchscript.prepare import Prepared

_Fact = TypeVar("_Fact", int, torch.dtype)

_CONVOLUTIONS = frozenset(
    f"aten::{name}"
    for name in (
        "_convolution",
        "conv1d",
        "conv2d",
        "conv3d",
        "conv_transpose1d",
        "conv_transpose2d",
        "conv_transpose3d",
    )
)
_BATCH_NORM = re.compile(r"__torch__\.torch\.nn\.modules\.batchnorm\.(___torch_mangle_\d+\.)?BatchNorm\dd")


def fixed_forms(prepared: Prepared) -> dict[str, Form]:
    """Forms of the tensors whose rank and type the program fixes, by their names in its graph.

    A rank that two places fix differently means code that raises whenever it is reached; the first one counts.
    """
    nodes = list(all_nodes(prepared.graph))
    if any(node.kind() == "prim::Enter" for node in nodes):  # autocast may change types on the way
        return {}
    attributes = Attributes(prepared.root, prepared.graph)
    ranks: dict[str, int] = {}
    types: dict[str, torch.dtype] = {}
    for node in nodes:
        for value, rank in (*_guarded(node), *_guarded_by_class(node, attributes)):
            if _is_always_met(node, value):
                ranks.setdefault(value.debugName(), rank)
        weight = _weight(node, attributes)
        if weight is not None and _is_always_met(node, node.inputsAt(0)):
            types.setdefault(node.inputsAt(0).debugName(), weight.dtype)
            if node.kind() == "aten::_convolution":  # unlike conv2d, it takes no input without a batch axis
                ranks.setdefault(node.inputsAt(0).debugName(), weight.dim())
    _carry_on(nodes, ranks)
    _carry_on(nodes, types)
    numbers = count()
    return {
        name: Form(tuple(f"size_{next(numbers)}" for _ in range(ranks[name])), types[name])
        for name in ranks
        if name in types
    }


def _guarded(node: IrNode) -> Iterator[tuple[IrValue, int]]:
    """A branch that raises where x.dim() is not 4."""
    if node.kind() != "prim::If":
        return
    condition = node.inputsAt(0).node()
    raises, otherwise = (
        any(inner.kind() == "prim::RaiseException" for inner in block.nodes()) for block in node.blocks()
    )
    raises_if_not = {"aten::ne": raises and not otherwise, "aten::eq": otherwise and not raises}
    if raises_if_not.get(condition.kind(), False) and condition.inputsAt(0).node().kind() == "aten::dim":
        rank = condition.inputsAt(1).toIValue()
        if isinstance(rank, int):
            yield condition.inputsAt(0).node().inputsAt(0), rank


def _guarded_by_class(node: IrNode, attributes: Attributes) -> Iterator[tuple[IrValue, int]]:
    """What torch's class of a BatchNorm checks first: inlined two calls deep, the check is lost, because torch takes a
    branch that only raises for dead code.
    """
    statistic = node.inputsAt(3).node() if node.kind() == "aten::batch_norm" else node
    place = attributes.place(statistic) if statistic.kind() == "prim::GetAttr" else None
    if place is None or not _BATCH_NORM.fullmatch(place.owner._type().qualified_name()):
        return
    if place.owner._has_method("_check_input_dim"):
        check = place.owner._get_method("_check_input_dim").graph
        for inner in all_nodes(check):
            yield from ((node.inputsAt(0), rank) for _, rank in _guarded(inner))


def _weight(node: IrNode, attributes: Attributes) -> torch.Tensor | None:
    """The weight of a convolution, where it is a parameter or a constant."""
    if node.kind() not in _CONVOLUTIONS:
        return None
    weight = node.inputsAt(1)
    place = attributes.place(weight.node()) if weight.node().kind() == "prim::GetAttr" else None
    held = weight.toIValue() if place is None else place.value
    return held if isinstance(held, torch.Tensor) else None


def _carry_on(nodes: list[IrNode], facts: dict[str, _Fact]) -> None:
    """Back and forth: a guard stands behind what made the tensor that it speaks of, and before what reads it."""
    for node in (*nodes, *reversed(nodes), *nodes):
        if Keeps.RANK | Keeps.TYPE in operator_of(node.kind()).keeps:
            before, behind = node.inputsAt(0).debugName(), node.outputsAt(0).debugName()
            if before in facts:
                facts.setdefault(behind, facts[before])
            elif behind in facts and _is_always_met(node, node.inputsAt(0)):
                facts[before] = facts[behind]


def _is_always_met(node: IrNode, value: IrValue) -> bool:
    """Whether a node runs whenever a value is made: what stands in a branch says nothing of what is made outside."""
    return bool(node.owningBlock().paramNode() == value.node().owningBlock().paramNode())
