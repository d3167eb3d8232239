"""Which values of two programs are the same, and which should be."""

from collections import defaultdict
from collections.abc import Hashable, Mapping, Sequence
from typing import TYPE_CHECKING

from bnfold.verifier.models.side_by_side import side_by_side
from bnfold.verifier.programs.parts.graph import Node, ProgramGraph, Value
from bnfold.verifier.programs.parts.writes import Memory

if TYPE_CHECKING:
    import torch

Table = dict[Hashable, int]
"""Of two programs: a number for everything that makes a value."""


class Numbers:
    """A number for each value of a program, node by node: values of one number are equal, in whatever program.

    They are made by the same operator with the same constants, of values of one number; or somebody found out that
    they are equal.

    Args:
        table: of both programs.
        graph: the program; its inputs and constants have numbers from the beginning.

    Attributes:
        graph: the program.
    """

    def __init__(self, table: Table, graph: ProgramGraph) -> None:
        self._table, self.graph = table, graph
        self._found = {value: self._number(("input", at)) for at, value in enumerate(graph.inputs)}
        self._written: dict[Memory, int] = {}
        self._drawn = 0

    def take(self, node: Node) -> None:
        """Number what a node makes, behind those before it."""
        memories = [self.graph.writes.memory(operand) for operand in node.operands]
        held = [self._written.get(memory) for memory in memories]
        self._drawn += node.is_random
        drawn = self._drawn if node.is_random else None
        number = self._number((node.op, node.static, tuple(map(self.__getitem__, node.operands)), tuple(held), drawn))
        self._found |= {output: self._number((number, at)) for at, output in enumerate(node.outputs)}
        self._written |= {memory: number for memory in memories if node in memory.writers}

    def __getitem__(self, value: Value) -> int:
        """Of a value that was taken in; of any constant."""
        if value not in self._found:
            self._found[value] = self._number(value if value.tensor is None else _Content(value.tensor))
        return self._found[value]

    def __setitem__(self, value: Value, number: int) -> None:
        """A value is equal to all others of a number."""
        self._found[value] = number

    def _number(self, what: Hashable) -> int:
        return self._table.setdefault(what, len(self._table))


class _Content:
    """Type, shape and bits of a tensor, as a key."""

    def __init__(self, tensor: "torch.Tensor") -> None:
        import torch

        values = tensor.detach().cpu().contiguous().reshape(-1)
        values = torch.view_as_real(values).reshape(-1) if values.is_complex() else values
        self._bits = values.view(torch.uint8)
        self._kind = tensor.dtype, tuple(tensor.shape)
        self._hash = hash((self._kind, self._bits[:256].numpy().tobytes()))

    def __hash__(self) -> int:
        return self._hash

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Content) and self._kind == other._kind and self._bits.equal(other._bits)


def pairs(ours: Numbers, theirs: Numbers) -> Mapping[Value, Sequence[Value]]:
    """For values of the new program, those of the original that each should be equal to, if the programs are.

    The operators of the two are put side by side, in their order: what such two read should be equal, and so should
    what they make where their constants are.

    Args:
        ours: of the original; nothing is asked but the numbers of its constants.
        theirs: of the new program, likewise.

    Returns:
        In the order of both programs.
    """
    original, new = ours.graph, theirs.graph
    found: dict[Value, dict[Value, None]] = defaultdict(dict)
    for place, other in side_by_side(*([*map(_label, graph.nodes)] for graph in (original, new))):
        a, b = original.nodes[place], new.nodes[other]
        same_constants = True
        for left, right in zip(a.operands, b.operands, strict=True):
            if left.tensor is not None or right.tensor is not None:
                same_constants &= ours[left] == theirs[right]
            else:
                found[right][left] = None
        for left, right in zip(a.outputs, b.outputs, strict=True) if same_constants else ():
            found[right][left] = None
    return {b: sorted(candidates, key=original.place) for b, candidates in found.items()}


def _label(node: Node) -> Hashable:
    shapes = tuple(None if value.tensor is None else tuple(value.tensor.shape) for value in node.operands)
    return node.op, node.static, len(node.outputs), shapes
