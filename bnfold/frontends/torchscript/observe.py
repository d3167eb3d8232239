"""Shapes and types of all tensors in a graph, seen by running it.

A TorchScript file says nothing of shapes. The program is run on example inputs, and again with other sizes of every
axis that it accepts: what changes has a name, what stays the same has a number. So no fold rests on a size that the
program does not insist on.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from bnfold.frontends.torchscript.ir import IrGraph, IrNode, IrValue
from bnfold.frontends.torchscript.prepare import Prepared
from bnfold.frontends.torchscript.running import Runner
from bnfold.rearrange import Dim

_NUMBERED_DTYPES = {
    dtype: number
    for number, dtype in enumerate(
        (torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64, torch.float16, torch.float32, torch.float64)
    )
} | {torch.bool: 11, torch.bfloat16: 15}
_DTYPES = {number: dtype for dtype, number in _NUMBERED_DTYPES.items()}


@dataclass(frozen=True)
class Form:
    """Shape and type of a tensor.

    Attributes:
        shape: a number for a size that never changed, a name for one that did; None where the rank changed.
        dtype: None where it is not one that bnfold knows.
    """

    shape: tuple[Dim, ...] | None
    dtype: torch.dtype | None


def observe(prepared: Prepared, examples: Sequence[Any]) -> dict[str, Form]:
    """What is known of the tensors that the graph itself holds, by their names in it; those of blocks are left out.

    Args:
        prepared: the program.
        examples: its arguments, without the module.

    Returns:
        Nothing at all where the program does not run on the examples.
    """
    probe = _Probe(prepared)
    first = probe.sizes(examples)
    if first is None:
        return {}
    runs = [first]
    for varied in _variations(examples):
        sizes = probe.sizes(varied)
        if sizes is not None:
            runs.append(sizes)
    names: dict[tuple[int, ...], str] = {}
    return {
        name: Form(_common([run[index][0] for run in runs], names), _DTYPES.get(first[index][1]))
        for index, name in enumerate(probe.names)
    }


class _Probe:
    """The graph, returning the size and type of every tensor instead of its results."""

    def __init__(self, prepared: Prepared) -> None:
        self.names: list[str] = []
        graph = prepared.graph.copy()
        asked = []
        for original, node in zip(list(prepared.graph.nodes()), list(graph.nodes()), strict=True):
            for before, value in zip(original.outputs(), node.outputs(), strict=True):
                if value.type().kind() == "TensorType" and not _is_reading(node):
                    self.names.append(before.debugName())
                    asked += [_ask(graph, node, value, "aten::size"), _ask(graph, node, value, "prim::dtype")]
        for before, value in list(zip(prepared.graph.inputs(), graph.inputs(), strict=True))[1:]:
            if value.type().kind() == "TensorType":
                self.names.append(before.debugName())
                start = next(iter(graph.nodes()))
                asked += [
                    _ask_before(graph, start, value, "aten::size"),
                    _ask_before(graph, start, value, "prim::dtype"),
                ]
        while list(graph.outputs()):
            graph.eraseOutput(0)
        for value in asked:
            graph.registerOutput(value)
        graph.makeMultiOutputIntoTuple()
        self._run = Runner("sizes", prepared.module, graph)

    def sizes(self, arguments: Sequence[Any]) -> list[tuple[list[int], int]] | None:
        """Size and type of each tensor; None where the program does not take these arguments."""
        try:
            found = self._run(arguments)
        except (torch.jit.Error, RuntimeError, IndexError, ValueError, TypeError):  # the first, of its own assertions
            return None
        return list(zip(found[::2], found[1::2], strict=True))


def _is_reading(node: IrNode) -> bool:
    return node.kind() in ("prim::Constant", "prim::GetAttr")


def _ask(graph: IrGraph, node: IrNode, value: IrValue, query: str) -> IrValue:
    return _query(graph, value, query).insertAfter(node).output()


def _ask_before(graph: IrGraph, node: IrNode, value: IrValue, query: str) -> IrValue:
    return _query(graph, value, query).insertBefore(node).output()


def _query(graph: IrGraph, value: IrValue, query: str) -> IrNode:
    node = graph.create(query, [value])
    node.output().setType(torch._C.ListType.ofInts() if query == "aten::size" else torch._C.IntType.get())
    return node


def _variations(examples: Sequence[Any]) -> Iterator[list[Any]]:
    """The examples with one axis of one tensor, or of all tensors at once, at another size."""
    tensors = [index for index, example in enumerate(examples) if isinstance(example, torch.Tensor)]
    deepest = max((examples[index].dim() for index in tensors), default=0)
    for axis in range(deepest):
        with_axis = [index for index in tensors if examples[index].dim() > axis]
        choices = [[index] for index in with_axis] + ([with_axis] if len(with_axis) > 1 else [])
        for chosen in choices:
            yield [_grown(each, axis) if index in chosen else each for index, each in enumerate(examples)]


def _grown(tensor: torch.Tensor, axis: int) -> torch.Tensor:
    """The batch grows by one; other axes double, so that what must divide them still does."""
    added = tensor.narrow(axis, 0, 1) if axis == 0 else tensor
    return torch.cat([tensor, added], axis)


def _common(shapes: list[list[int]], names: dict[tuple[int, ...], str]) -> tuple[Dim, ...] | None:
    if len({len(shape) for shape in shapes}) > 1:
        return None
    return tuple(
        sizes[0] if len(set(sizes)) == 1 else names.setdefault(sizes, f"size_{len(names)}")
        for sizes in zip(*shapes, strict=True)
    )
