"""A program as nodes and values, whatever the format it comes from, and parts of it."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

from bnfold.verifier.programs.parts.writes import Writes

if TYPE_CHECKING:
    import torch

_CHOICES = frozenset({"cond", "prim::If"})

Function: TypeAlias = Callable[[Sequence[Any]], Any]
"""Makes a part's target of the values that it begins with, and of those that it has stored behind them."""


class Unreadable(Exception):  # noqa: N818 - nothing is wrong with the program
    """A program cannot be taken apart, or a part of it does not run by itself; the message says why."""


@dataclass(eq=False)
class Value:
    """What a node makes, or what the program is given.

    Attributes:
        label: how people call it.
        handle: what it is in its format.
        tensor: of a parameter, a buffer or a constant; None of all others.
    """

    label: str
    handle: Any
    tensor: "torch.Tensor | None" = None


@dataclass(eq=False)
class Node:
    """One operator.

    Attributes:
        op: its qualified name.
        reads: the values that it reads, as its format says.
        static: all else that it is given, and where the values stand in it.
        outputs: what it makes.
        handle: what it is in its format.
        is_random: whether it draws numbers.
        converts_to: half precision, where it does nothing but convert to that; None otherwise.
        computes_in: half precision, where it is a region that computes in it, whatever it reads; None otherwise.
        operands: what stands for each of `reads` when it runs: what was written in place, for what it was written to.
    """

    op: str
    reads: tuple[Value, ...]
    static: Hashable
    outputs: tuple[Value, ...]
    handle: Any
    is_random: bool = False
    converts_to: "torch.dtype | None" = None
    computes_in: "torch.dtype | None" = None
    operands: tuple[Value, ...] = ()

    @property
    def chooses(self) -> bool:
        """Whether it takes one of two branches, by its first operand."""
        return self.op in _CHOICES


@dataclass(frozen=True)
class Part:
    """The nodes that make one value.

    Attributes:
        target: that value.
        nodes: in their order.
        given: the values that it begins with.
        stored: the parameters, buffers and constants that it reads.
    """

    target: Value
    nodes: tuple[Node, ...]
    given: tuple[Value, ...]
    stored: tuple[Value, ...]

    def roles(self, value: Value) -> frozenset[tuple[str, int]]:
        """As what the nodes read a value: in another role, equal numbers have been computed, and rounded to these."""
        return frozenset(
            (node.op, place) for node in self.nodes for place, read in enumerate(node.operands) if read is value
        )


class ProgramGraph(ABC):
    """A program as nodes, in the order in which they run.

    Attributes:
        inputs: what the caller gives, leaf by leaf or argument by argument.
        nodes: the operators.
        results: the values that are returned, and those that are left in what is written to, by the names of
            `program.Call`. A list or a dict of a script is one value.
        writes: what is written in place.
    """

    def __init__(self) -> None:
        self.inputs: list[Value] = []
        self.nodes: list[Node] = []
        self.results: dict[str, Value] = {}
        self.writes = Writes()
        self._makers: dict[Value, Node] = {}
        self._places: dict[Node, int] = {}

    def _append(self, node: Node, written: Iterable[Value], viewed: Iterable[Value]) -> None:
        """Take in an operator, behind those before it; what it writes to and views as of `Writes.note`."""
        node.operands = tuple(map(self.writes.current, node.reads))
        self._places[node] = len(self.nodes)
        self._makers |= dict.fromkeys(node.outputs, node)
        self.nodes.append(node)
        self.writes.note(node, written, viewed)

    def _append_results(self, outputs: Mapping[str, Value], kept: Mapping[str, tuple[Value | None, Value]]) -> None:
        """Take in what is returned, and what is left in what was written to.

        Args:
            outputs: by the path to each.
            kept: by its name, the value to begin with and the one that stands for it in the end.
        """
        ends = ((name, first, self.writes.current(last)) for name, (first, last) in kept.items())
        self.results = {path: self.writes.current(value) for path, value in outputs.items()}
        self.results |= {name: now for name, first, now in ends if now is not first}

    def place(self, value: Value) -> int:
        """Where a value is made; inputs and parameters come before everything."""
        return self._places[self._makers[value]] if value in self._makers else -1

    def part(self, target: Value, is_known: Callable[[Value], bool]) -> Part:
        """The part that makes a value out of the last ones before it that are known.

        Args:
            target: what to make; it is made even if it is known.
            is_known: whether to stop at a value. What is entangled with later writes is made, known or not.
        """
        nodes: set[Node] = set()
        given: dict[Value, None] = {}
        stored: dict[Value, None] = {}
        waiting = [(target, len(self.nodes))]
        while waiting:
            value, before = waiting.pop()
            writers = self.writes.memory(value).writers
            needed = [writer for writer in writers if self._places[writer] < before]
            if value.tensor is not None:
                stored[value] = None
            elif value not in self._makers or (value is not target and not writers and is_known(value)):
                given[value] = None
            else:
                needed.append(self._makers[value])
            for node in needed:
                if node not in nodes:
                    nodes.add(node)
                    waiting += [(operand, self._places[node]) for operand in node.operands]
        return Part(target, tuple(sorted(nodes, key=self._places.__getitem__)), tuple(given), tuple(stored))

    @abstractmethod
    def function(self, part: Part, *, taken: bool | None = None) -> Function:
        """A part as a function that computes in float64 where it is given float64.

        Args:
            part: of this program.
            taken: which of its two branches each node takes that has some; None for the one that it chooses.
        """

    @abstractmethod
    def observe(self, arguments: Sequence[Any]) -> Mapping[Value, Any]:
        """Run the whole program: what each value is, as `tensors.as_seen` says."""
