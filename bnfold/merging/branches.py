"""Where in a graph operators lie side by side: sums whose operands are linear in one tensor. It changes nothing.

Judged by topology alone, without any parameter, so that networks without such places cost next to nothing.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Generic

from bnfold.errors import InternalError
from bnfold.label import MOST_NAMED, Label, first_labels, named
from bnfold.meanings import Meanings
from bnfold.port import E, GraphPort, N, V
from bnfold.refusal import Reason, Refusal
from bnfold.semantics import Sum


@dataclass(frozen=True, eq=False)
class Turn(Generic[N]):
    """A node that only orders axes: axis i of its output is axis permutation[i] of its input."""

    node: N
    permutation: tuple[int, ...]


@dataclass(frozen=True, eq=False)
class Branch(Generic[N, V]):
    """A way from one tensor to an operand of a sum, through operators that may be linear.

    Attributes:
        source: the tensor.
        steps: the operators, first to last; none where the operand is the tensor itself.
        into: the sum.
        slot: which of its inputs the operand is.
        sign: with which the operand counts in the outermost sum.
        before: what orders the axes of the tensor in front of all operators; None where nothing does.
        behind: what does so behind all of them.
    """

    source: V
    steps: tuple[N, ...]
    into: N
    slot: int
    sign: float
    before: Turn[N] | None = None
    behind: Turn[N] | None = None

    @property
    def turns(self) -> tuple[tuple[int, ...] | None, tuple[int, ...] | None]:
        """Both orders of axes."""
        return (
            None if self.before is None else self.before.permutation,
            None if self.behind is None else self.behind.permutation,
        )

    @property
    def nodes(self) -> tuple[N, ...]:
        """All that it is made of, first to last."""
        ends = [() if turn is None else (turn.node,) for turn in (self.before, self.behind)]
        return (*ends[0], *self.steps, *ends[1])


@dataclass(frozen=True, eq=False)
class SumTree(Generic[N, V]):
    """A sum of sums, as one.

    Attributes:
        root: the outermost sum.
        sums: all of them, inner ones before the sums that read them.
        parents: of each inner sum, the sum that reads it and the input at which it does.
        leaves: every operand that is no inner sum.
    """

    root: N
    sums: tuple[N, ...]
    parents: dict[N, tuple[N, int]]
    leaves: tuple[Branch[N, V], ...]

    def groups(self) -> list[list[Branch[N, V]]]:
        """Branches of one tensor together, in the order of the sum."""
        found: dict[V, list[Branch[N, V]]] = {}
        for leaf in self.leaves:
            found.setdefault(leaf.source, []).append(leaf)
        return list(found.values())


class BranchFinder(Generic[N, V, E]):
    """Finds branches in one graph as it is now.

    Args:
        port: the graph.
        meanings: what its nodes mean.
    """

    def __init__(self, port: GraphPort[N, V, E], meanings: Meanings[N, V, E]) -> None:
        self._port = port
        self._meaning = meanings

    def roots(self) -> list[N]:
        """The sums that no other sum adds up further, in the order of the graph."""
        sums = [node for node in self._port.nodes() if self._sum(node) is not None]
        return [node for node in sums if self._parent(node) is None]

    def pair(self, node: N) -> Branch[N, V] | None:
        """An operator and the one before it, where nobody sees what is in between; the second stands for the sum."""
        slot = self._port.linear_input(node)
        value = None if slot is None else self._port.inputs(node)[slot]
        before = None if value is None else self._step_before(value)
        return None if before is None or slot is None else Branch(before[1], (before[0], node), node, slot, 1.0)

    def tree(self, root: N) -> SumTree[N, V]:
        """All that a sum adds up, through the sums that it alone reads."""
        parents: dict[N, tuple[N, int]] = {}
        leaves: list[Branch[N, V]] = []
        sums, waiting = [root], [root]
        while waiting:
            node = waiting.pop()
            for slot, value, sign in self._operands(node):
                producer = self._port.producer(value)
                if not isinstance(producer, Refusal) and self._parent(producer) == (node, slot):
                    parents[producer] = (node, slot)
                    sums.append(producer)
                    waiting.append(producer)
                else:
                    leaves.append(self._leaf(node, slot, value, sign))
        return SumTree(root, tuple(reversed(sums)), parents, tuple(leaves))

    def is_private(self, value: V) -> bool:
        """Whether one node reads a tensor, and nobody else would notice if it were gone."""
        return len(self._port.readers(value)) == 1 and self._seen_by_others(value) is None

    def kept_apart(self, tree: SumTree[N, V]) -> list[Refusal]:
        """Operands that would be branches of the tensor of another one, if nobody else saw what they are made of."""
        sources = dict.fromkeys(leaf.source for leaf in tree.leaves)
        apart = {source: self._seen_by_others(source) for source in sources}
        for source, seen in apart.items():
            if seen is not None and not any(before in sources for before in self._sources_of(source)):
                apart[source] = None
        of_leaves = ((leaf, apart[leaf.source]) for leaf in tree.leaves)
        return [seen.along(Label(leaf.into.label, leaf.into.op)) for leaf, seen in of_leaves if seen is not None]

    def _seen_by_others(self, value: V) -> Refusal | None:
        """Who besides one reader would notice if a tensor were gone."""
        pinned = self._port.pinned(value)
        if pinned is not None:
            return pinned
        readers = self._port.readers(value)
        if len(readers) > 1:
            first = [node for node, _ in readers[:MOST_NAMED]]
            evidence = f"{value.name!r} is read by {named(first, len(readers))}"
            return Refusal(Reason.OTHER_CONSUMERS, evidence, readers=first_labels(first))
        if self._port.is_seen_elsewhere(value) or not readers:
            return Refusal(Reason.OTHER_CONSUMERS, f"the form of {value.name!r} is asked for, or it is read in a body")
        return None

    def _sources_of(self, value: V) -> Iterator[V]:
        """The tensors of which another may be a linear function, whoever else sees those in between."""
        node = self._port.producer(value)
        while not isinstance(node, Refusal):
            slot = self._port.linear_input(node)
            before = None if slot is None else self._port.inputs(node)[slot]
            if before is None:
                return
            yield before
            node = self._port.producer(before)

    def _sum(self, node: N) -> Sum | None:
        if not self._port.may_be_sum(node):
            return None
        meaning = self._meaning(node)
        return meaning if isinstance(meaning, Sum) else None

    def _operands(self, node: N) -> list[tuple[int, V, float]]:
        meaning = self._sum(node)
        if meaning is None:
            raise InternalError(f"{node.label!r} was a sum, and is none now")
        values = enumerate(zip(self._port.inputs(node), meaning.operands, strict=True))
        return [(slot, value, operand.sign) for slot, (value, operand) in values if value is not None]

    def _parent(self, node: N) -> tuple[N, int] | None:
        """The sum that alone reads what a sum makes, and adds it, with the input at which it does."""
        if self._sum(node) is None:
            return None
        output = self._port.outputs(node)[0]
        if output is None or not self.is_private(output):
            return None
        reader, slot = self._port.readers(output)[0]
        meaning = self._sum(reader)
        return (reader, slot) if meaning is not None and meaning.operands[slot].sign == 1.0 else None

    def _leaf(self, node: N, slot: int, value: V, sign: float) -> Branch[N, V]:
        steps: list[N] = []
        behind = self._turn_before(value) if self.is_private(value) else None
        if behind is not None:
            value = self._source_of(behind)
        step = self._step_before(value)
        while step is not None:
            steps.append(step[0])
            value = step[1]
            step = self._step_before(value)
        before = self._turn_before(value)  # which others may read as well: it stays
        if before is not None:
            value = self._source_of(before)
        if not steps and before is None:
            before, behind = behind, None
        return Branch(value, tuple(reversed(steps)), node, slot, sign, before, behind)

    def _turn_before(self, value: V) -> Turn[N] | None:
        producer = self._port.producer(value)
        permutation = None if isinstance(producer, Refusal) else self._port.permutation(producer)
        return None if permutation is None or isinstance(producer, Refusal) else Turn(producer, permutation)

    def _source_of(self, turn: Turn[N]) -> V:
        value = self._port.inputs(turn.node)[0]
        if value is None:
            raise InternalError(f"{turn.node.label!r} has no input")
        return value

    def _step_before(self, value: V) -> tuple[N, V] | None:
        """The operator that makes a tensor of another, if it may be linear and nobody else sees what it makes."""
        node = self._port.producer(value) if self.is_private(value) else None
        slot = None if node is None or isinstance(node, Refusal) else self._port.linear_input(node)
        if node is None or isinstance(node, Refusal) or slot is None:
            return None
        before = self._port.inputs(node)[slot]
        return None if before is None else (node, before)
