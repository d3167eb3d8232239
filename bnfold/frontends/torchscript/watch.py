"""Graphs that show tensors inside: the values of chosen names."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

import torch

from bnfold.frontends.torchscript.ir import IrGraph, IrValue, all_nodes
from bnfold.frontends.torchscript.running import Runner

Observe: TypeAlias = Callable[[Sequence[Any]], Mapping[str, torch.Tensor]]
"""Runs a program on the arguments of forward: tensors inside it by name."""


def watch(module: torch.jit.ScriptModule, graph: IrGraph, shown: Mapping[str, IrValue]) -> Observe:
    """A function that runs a copy of a graph.

    Args:
        module: what its first input stands for.
        graph: inlined; it is copied, so that later changes to it are not seen.
        shown: the values to show, by name; those that stand in bodies of branches are left out.
    """
    copy = graph.copy()
    twins = {value.debugName(): twin for value, twin in _pairs(graph, copy)}
    names = [name for name, value in shown.items() if value.debugName() in twins]
    for name in names:
        twin = twins[shown[name].debugName()]
        node = copy.create("aten::clone", [twin, _none(copy)])  # because a later node may write to it
        node.output().setType(torch._C.TensorType.get())
        copy.registerOutput(node.insertAfter(twin.node()).output())
    if names:
        copy.makeMultiOutputIntoTuple()
    run = Runner("watch", module, copy)

    def observe(arguments: Sequence[Any]) -> Mapping[str, torch.Tensor]:
        return dict(zip(names, run(arguments)[1:], strict=True)) if names else {}

    return observe


def _pairs(graph: IrGraph, copy: IrGraph) -> list[tuple[IrValue, IrValue]]:
    """The values that the graph itself makes, beside those of a copy: names are not the same in both."""
    nodes = zip(list(graph.nodes()), list(copy.nodes()), strict=True)
    return [pair for a, b in nodes for pair in zip(a.outputs(), b.outputs(), strict=True)]


def same_place(first: IrGraph, second: IrGraph) -> dict[str, IrValue]:
    """Values of a graph by the names that another graph, made the same way, has in their place."""
    found: dict[str, IrValue] = {}
    for a, b in zip(all_nodes(first), all_nodes(second), strict=True):
        found.update({x.debugName(): y for x, y in zip(a.outputs(), b.outputs(), strict=True)})
    return found


def _none(graph: IrGraph) -> IrValue:
    first = next(iter(graph.nodes()))
    with graph.insert_point_guard(first):
        return graph.insertConstant(None)
