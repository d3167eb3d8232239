"""Where two programs are the same, and which values of theirs should be."""

import hashlib
from collections.abc import Hashable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from bnfold.verifier.models.side_by_side import side_by_side
from bnfold.verifier.programs.parts.graph import Node, ProgramGraph, Value

if TYPE_CHECKING:
    import torch


class Numbers:
    """Numbers for values: those of one number are equal, whatever program they stand in.

    They are made by the same operator with the same constants, of values of one number; or somebody knows them to be
    equal.
    """

    def __init__(self) -> None:
        self._numbers: dict[Hashable, int] = {}
        self._content: dict[Value, Hashable] = {}

    def of(self, graph: ProgramGraph, known: Mapping[Value, int]) -> dict[Value, int]:
        """The numbers of all values in a program, of which some are known."""
        found: dict[Value, int] = {value: self._number(("input", at)) for at, value in enumerate(graph.inputs)}
        written: dict[Value, int] = {}
        drawn = 0
        for node in graph.nodes:
            operands = []
            for operand in node.operands:
                if operand not in found:
                    found[operand] = self._number(self._held(operand))
                operands.append((found[operand], written.get(graph.writes.family(operand), -1)))
            drawn += node.is_random
            number = self._number((node.op, node.static, tuple(operands), drawn if node.is_random else -1))
            for at, output in enumerate(node.outputs):
                found[output] = known[output] if output in known else self._number((number, at))
            for operand in node.operands:
                family = graph.writes.family(operand)
                if node in graph.writes.writers.get(family, ()):
                    written[family] = number
        for value in graph.results.values():
            if value not in found:
                found[value] = self._number(self._held(value))
        return found

    def _number(self, what: Hashable) -> int:
        return self._numbers.setdefault(what, len(self._numbers))

    def _held(self, value: Value) -> Hashable:
        """What a constant holds; of what is no constant, what it is in its own program."""
        if value not in self._content:
            self._content[value] = id(value) if value.tensor is None else _content(value.tensor)
        return self._content[value]


def _content(tensor: "torch.Tensor") -> Hashable:
    """A tensor's type, shape and values."""
    import torch

    values = tensor.detach().cpu().contiguous().reshape(-1)
    if values.is_complex():
        values = torch.view_as_real(values)
    digest = hashlib.sha256(values.view(torch.uint8).numpy().data).digest() if values.numel() else b""
    return str(tensor.dtype), tuple(tensor.shape), digest


def candidates(
    original: Sequence[Node], new: Sequence[Node], numbers: tuple[Mapping[Value, int], Mapping[Value, int]]
) -> Iterator[tuple[Value, Value]]:
    """Pairs of values that should be equal if the programs are, in the order of the original.

    The operators that the two have in common are put side by side, in their order: what such two read should be equal,
    and so should what they make where their constants are.

    Args:
        original: the nodes that the new program does not have.
        new: the nodes that the original does not have.
        numbers: of the values of either.
    """
    for place, other in side_by_side([*map(_label, original)], [*map(_label, new)]):
        a, b = original[place], new[other]
        same_constants = True
        for left, right in zip(a.operands, b.operands, strict=True):
            if left.tensor is not None or right.tensor is not None:
                same_constants &= numbers[0][left] == numbers[1][right]
            else:
                yield left, right
        if same_constants:
            yield from zip(a.outputs, b.outputs, strict=True)


def _label(node: Node) -> Hashable:
    return node.op, node.static, len(node.operands), len(node.outputs), tuple(_shape(value) for value in node.operands)


def _shape(value: Value) -> Hashable:
    return None if value.tensor is None else tuple(value.tensor.shape)
