"""Taps: a copy of a graph that writes down size and type of every tensor that it makes, also in branches and loops."""

import copy
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from bnfold.frontends.torchscript.ir import IrBlock, IrGraph, IrNode, IrValue, all_nodes
from bnfold.frontends.torchscript.prepare import Prepared

_HOLDS_NOTHING = frozenset({"prim::Constant", "prim::GetAttr", "prim::Uninitialized"})


@dataclass(frozen=True)
class Seen:
    """A tensor at one moment.

    Attributes:
        sizes: of its axes.
        dtype: as torch numbers its types.
    """

    sizes: tuple[int, ...]
    dtype: int


class Taps:
    """A copy of a program's graph that returns a list of notes instead of its results.

    A note is the number of a value in the order of the graph, its type, and its sizes. The notes are made by the graph
    itself, so that what runs several times, or never, is noted as often.

    Args:
        prepared: the program. It stays as it is, and so do the tensors that its module and its code hold.
    """

    def __init__(self, prepared: Prepared) -> None:
        self._root = prepared.root
        self._names: list[str] = []
        graph = prepared.graph.copy()
        originals, values = list(_tensors(prepared.graph)), list(_tensors(graph))
        self._notes = _notes_at_the_start(graph)
        for original, value in zip(originals, values, strict=True):
            self._note(graph, original, value)
        while list(graph.outputs()):
            graph.eraseOutput(0)
        graph.registerOutput(self._notes)
        self._function = torch._C._create_function_from_graph("sizes", graph)
        # Tensors in the code, which a copy of the module does not copy.
        self._constants = [
            node.t("value")
            for node in all_nodes(graph)
            if node.kind() == "prim::Constant" and node.hasAttribute("value") and node.kindOf("value") == "t"
        ]

    def run(self, arguments: Sequence[Any]) -> dict[str, list[Seen]] | None:
        """What was seen of each value, by its name; None where the program does not take these arguments of forward."""
        try:
            notes = self._notes_of(arguments)
        except (torch.jit.Error, RuntimeError, IndexError, ValueError, TypeError):  # the first, of its own assertions
            return None
        seen: dict[str, list[Seen]] = {}
        for number, dtype, *sizes in notes:
            seen.setdefault(self._names[number], []).append(Seen(tuple(sizes), dtype))
        return seen

    def _notes_of(self, arguments: Sequence[Any]) -> list[list[int]]:
        """Run from the state that the module has now, and bring back what the run changes."""
        before = [constant.clone() for constant in self._constants]
        try:
            with torch.no_grad(), torch.random.fork_rng(devices=[]):
                notes: list[list[int]] = self._function(copy.deepcopy(self._root), *copy.deepcopy(list(arguments)))
                return notes
        finally:
            for constant, values in zip(self._constants, before, strict=True):
                with torch.no_grad():
                    constant.copy_(values)

    def _note(self, graph: IrGraph, original: "_Tensor", value: "_Tensor") -> None:
        with graph.insert_point_guard(value.before):
            number = graph.insertConstant(len(self._names))
        self._names.append(original.value.debugName())
        ints, a_number = torch._C.ListType.ofInts(), torch._C.IntType.get()
        dtype = _insert(graph, value.before, "prim::dtype", [value.value], a_number)
        head = _insert(graph, value.before, "prim::ListConstruct", [number, dtype], ints)
        sizes = _insert(graph, value.before, "aten::size", [value.value], ints)
        note = _insert(graph, value.before, "aten::add", [head, sizes], ints)
        _insert(graph, value.before, "aten::append", [self._notes, note], self._notes.type())


@dataclass(frozen=True)
class _Tensor:
    """A value that is a tensor at run time, and the node before which it can be asked."""

    value: IrValue
    before: IrNode


def _tensors(block: IrBlock) -> Iterator[_Tensor]:
    """Every tensor of a block and of the bodies in it, in their order; those that may have no value are left out."""
    nodes = list(block.nodes())
    following = [*nodes, _end(block)]
    for value in block.inputs():
        if _is_tensor(value):
            yield _Tensor(value, following[0])
    for node, behind in zip(nodes, following[1:], strict=True):
        for inner in node.blocks():
            yield from _tensors(inner)
        if node.kind() not in _HOLDS_NOTHING:
            for place, value in enumerate(node.outputs()):
                if _is_tensor(value) and not _may_be_unset(node, place):
                    yield _Tensor(value, behind)


def _end(block: IrBlock) -> IrNode:
    """The node behind all others; torch calls it otherwise in a graph than in a block."""
    return block.return_node() if isinstance(block, torch._C.Graph) else block.returnNode()


def _is_tensor(value: IrValue) -> bool:
    return bool(value.type().kind() == "TensorType")


def _may_be_unset(node: IrNode, place: int) -> bool:
    """Whether a result of a branch has no value where code returned or broke off early; not where it raised."""
    if node.kind() == "prim::Uninitialized":
        return True
    returned = [list(block.outputs()) for block in node.blocks() if not _raises(block)]
    results = [values[place + len(values) - node.outputsSize()] for values in returned]
    return any(_may_be_unset(value.node(), value.offset()) for value in results)


def _raises(block: IrBlock) -> bool:
    return any(node.kind() == "prim::RaiseException" for node in block.nodes())


def _notes_at_the_start(graph: IrGraph) -> IrValue:
    start = next(iter(graph.nodes()), _end(graph))
    return _insert(graph, start, "prim::ListConstruct", [], torch._C.ListType(torch._C.ListType.ofInts()))


def _insert(graph: IrGraph, before: IrNode, kind: str, inputs: list[IrValue], type_: object) -> IrValue:
    node = graph.create(kind, inputs)
    node.output().setType(type_)
    return node.insertBefore(before).output()
