"""A program as nodes and values, whatever the format it comes from."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from bnfold.verifier.compare.arrays import FLOATS
from bnfold.verifier.programs.tensors import as_arrays, numpy_dtype

if TYPE_CHECKING:
    import torch

_CHOICES = frozenset({"cond", "prim::If"})

Function: TypeAlias = Callable[[Sequence[Any]], list[Any]]
"""Takes the values of some inputs, and gives those of some targets."""


@dataclass(eq=False)
class Value:
    """What a node makes, or what the program is given.

    Attributes:
        name: in its format.
        handle: what it is in its format.
        tensor: of a parameter, a buffer or a constant; None of all others.
        label: how people call it.
    """

    name: str
    handle: Any
    tensor: "torch.Tensor | None" = None
    label: str = ""

    def __post_init__(self) -> None:
        self.label = self.label or self.name


@dataclass(eq=False)
class Node:
    """One operator.

    Attributes:
        op: its qualified name.
        operands: the values that it reads, as they are when it runs: what was written in place stands for what it was
            written to.
        static: all else that it is given, and where the operands stand in it.
        outputs: what it makes.
        handle: what it is in its format.
        reads: of each operand, the value that stands in the format.
        is_random: whether it draws numbers.
        converts_to: half precision, where it does nothing but convert to that; None otherwise.
        computes_in: half precision, where it is a region that computes in it, whatever it reads; None otherwise.
    """

    op: str
    operands: tuple[Value, ...]
    static: Hashable
    outputs: tuple[Value, ...]
    handle: Any
    reads: tuple[Value, ...] = ()
    is_random: bool = False
    converts_to: "torch.dtype | None" = None
    computes_in: "torch.dtype | None" = None

    @property
    def chooses(self) -> bool:
        """Whether it takes one of two branches, by its first operand."""
        return self.op in _CHOICES


class Unreadable(Exception):  # noqa: N818 - nothing is wrong with the program
    """A program cannot be taken apart; the message says why."""


@dataclass
class Writes:
    """Follows what is written in place, node by node.

    Where an operator writes to the whole of a tensor that nobody views, what it returns stands for the tensor from then
    on. Where it writes to a part, or where views are about, all values that may share the memory are entangled: none of
    them can be cut off, and whoever reads one needs all writes before.
    """

    _now: dict[Value, Value] = field(default_factory=dict)
    _family: dict[Value, Value] = field(default_factory=dict)
    _members: dict[Value, set[Value]] = field(default_factory=dict)
    entangled: set[Value] = field(default_factory=set)
    writers: dict[Value, list[Node]] = field(default_factory=dict)

    def current(self, value: Value) -> Value:
        """The value that stands for another now."""
        while value in self._now:
            value = self._now[value]
        return value

    def family(self, value: Value) -> Value:
        """One value for all that may share memory with it."""
        while self._family.get(value, value) is not value:
            value = self._family[value]
        return value

    def note(self, node: Node, written: Iterable[Value], viewed: Iterable[Value]) -> None:
        """Take in one node, behind those before it.

        Args:
            node: it.
            written: operands that it writes to.
            viewed: operands whose memory its outputs may share.
        """
        written = list(written)
        for value in written:
            whole = len(self._members.get(self.family(value), {value})) == 1 and len(node.outputs) == 1
            if whole and len(written) == 1:
                self._now[value] = node.outputs[0]
            else:
                self._tangle(value, node)
        for value in viewed:
            if value not in written or value in self.entangled:
                for output in node.outputs:
                    self._join(value, output)

    def _tangle(self, value: Value, node: Node) -> None:
        family = self.family(value)
        self.entangled |= self._members.setdefault(family, {value})
        self.writers.setdefault(family, []).append(node)

    def _join(self, value: Value, output: Value) -> None:
        family, other = self.family(value), self.family(output)
        if family is other:
            return
        members = self._members.setdefault(family, {value})
        members |= self._members.pop(other, {output})
        self._family[other] = family
        self.writers.setdefault(family, []).extend(self.writers.pop(other, []))
        if members & self.entangled:
            self.entangled |= members


def as_seen(value: Any) -> Any:  # noqa: ANN401 - whatever a program makes
    """Arrays for tensors; floating-point ones that have an axis keep shape and type alone, and take no memory."""
    import torch
    from torch.utils import _pytree as pytree

    def array(held: Any) -> Any:  # noqa: ANN401
        dtype = numpy_dtype(held.dtype) if isinstance(held, torch.Tensor) else None
        if dtype in FLOATS and held.dim():
            return np.broadcast_to(np.zeros((), dtype), tuple(held.shape))
        return as_arrays(held.clone()) if isinstance(held, torch.Tensor) else held

    return pytree.tree_map(array, value)


def touched(schema: Any, given: Iterable[Sequence[Value]]) -> tuple[list[Value], list[Value]]:  # noqa: ANN401
    """What an operator writes to, and what its results may share memory with.

    Args:
        schema: of torch.
        given: what it is given, argument by argument.
    """
    written: list[Value] = []
    viewed: list[Value] = []
    for argument, values in zip(schema.arguments, given, strict=False):
        if argument.alias_info is not None:
            (written if argument.alias_info.is_write else viewed).extend(values)
    return written, viewed


class ProgramGraph(ABC):
    """A program as nodes, in the order in which they run.

    Attributes:
        inputs: what the caller gives, leaf by leaf or argument by argument.
        nodes: the operators.
        results: the values that are returned, and those that are left in what is written to, by name.
        writes: what is written in place.
    """

    def __init__(self) -> None:
        self.inputs: list[Value] = []
        self.nodes: list[Node] = []
        self.results: dict[str, Value] = {}
        self.writes = Writes()

    def _append(self, node: Node, written: Iterable[Value], viewed: Iterable[Value]) -> None:
        """Take in an operator, behind those before it; what it writes to and views as of `Writes.note`."""
        self.nodes.append(node)
        self.writes.note(node, list(map(self.writes.current, written)), list(map(self.writes.current, viewed)))

    def _append_results(self, outputs: Iterable[Value], kept: Mapping[str, tuple[Value | None, Value]]) -> None:
        """Take in what is returned, and what is left in what was written to.

        Args:
            outputs: in order.
            kept: by its name, the value to begin with and the one that stands for it in the end.
        """
        self.results = {f"output {at}": self.writes.current(value) for at, value in enumerate(outputs)}
        ends = ((name, first, self.writes.current(last)) for name, (first, last) in kept.items())
        self.results |= {name: now for name, first, now in ends if now is not first}

    @abstractmethod
    def function(
        self, inputs: Sequence[Value], targets: Sequence[Value], nodes: Iterable[Node], *, taken: bool | None = None
    ) -> Function:
        """Some of the nodes, in their order, as a function that computes in float64 where it is given float64.

        Args:
            inputs: the values that are given to it.
            targets: the values that it gives.
            nodes: those between.
            taken: which of its two branches each of them takes that has some; None for the one that it chooses.
        """

    @abstractmethod
    def observe(self, arguments: Sequence[Any]) -> Mapping[Value, Any]:
        """Run the whole program: what each value is, as `as_seen` says."""
