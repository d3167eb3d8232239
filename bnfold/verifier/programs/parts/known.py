"""What is known of the values of two programs: which are equal, and which the new program holds by a map."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from bnfold.verifier.models.held import Held
from bnfold.verifier.programs.parts.graph import Node, Part, ProgramGraph, Unreadable, Value
from bnfold.verifier.programs.parts.numbers import Numbers, Table, pairs


@dataclass(frozen=True)
class Parts:
    """What makes a value in the original, and what makes its like in the new program.

    Attributes:
        ours, theirs: these parts.
        begins: what both begin with, in the original: the first of all values that are equal.
        places: in `begins`, of what either is given.
        held: what the new program holds in place of values that both begin with, by their places in `begins`.
        changed: which of the new part's stored tensors the original's has not in the same role.
    """

    ours: Part
    theirs: Part
    begins: Sequence[Value]
    places: tuple[Sequence[int], Sequence[int]]
    held: Mapping[int, Held]
    changed: Sequence[bool]


class Known:
    """Grows node by node of the new program.

    Args:
        original: the one program.
        new: the other.
    """

    def __init__(self, original: ProgramGraph, new: ProgramGraph) -> None:
        table: Table = {}
        self._original, self._new = original, new
        self._ours, self._theirs = Numbers(table, original), Numbers(table, new)
        self._pairs = pairs(self._ours, self._theirs)
        for node in original.nodes:
            self._ours.take(node)
        made = [*original.inputs, *(output for node in original.nodes for output in node.outputs)]
        self._first = {self._ours[value]: value for value in reversed(made)}
        self._equal = {self._theirs[value] for value in new.inputs}.intersection(self._first)
        self._maps: dict[int, Held] = {}
        self._stands_for: dict[Value, int] = {}
        self._readers = Counter(value for node in (*original.nodes, *new.nodes) for value in set(node.operands))

    def walk(self) -> Iterator[tuple[Value, Value]]:
        """Pairs of values that should be equal, and are not known to be, in the order of the new program.

        What is made of values that are known to be equal, in the same way, is equal as well.
        """
        for node in self._new.nodes:
            self._take(node)
            for b in node.outputs:
                yield from ((a, b) for a in self._pairs.get(b, ()) if not self._is_settled(a, b))

    def _take(self, node: Node) -> None:
        self._theirs.take(node)
        self._equal |= self._first.keys() & {self._theirs[output] for output in node.outputs}

    def _is_settled(self, a: Value, b: Value) -> bool:
        """Whether one of two values is known to have its like, or cannot be cut off."""
        is_entangled = self._original.writes.entangles(a) or self._new.writes.entangles(b)
        return is_entangled or any(map(self._has_its_like, (self._ours[a], self._number_in_original(b))))

    def _has_its_like(self, number: int) -> bool:
        return number in self._equal or number in self._maps

    def _number_in_original(self, b: Value) -> int:
        """That of the value that the new program holds it in place of; its own where there is none."""
        return self._stands_for.get(b, self._theirs[b])

    def are_equal(self, a: Value, b: Value) -> bool:
        """Whether two values are known to be equal."""
        return self._ours[a] == self._theirs[b]

    def is_in_original(self, b: Value) -> bool:
        """Whether a value of the new program is known to be equal to one of the original."""
        return self._theirs[b] in self._first

    def have_several_readers(self, a: Value, b: Value) -> bool:
        """Whether more than one node reads each of two values."""
        return min(self._readers[a], self._readers[b]) > 1

    def learn(self, a: Value, b: Value, held: Held | None) -> None:
        """Two values are equal, or the new program holds the second in place of the first."""
        number = self._ours[a]
        if held is not None:
            self._maps[number], self._stands_for[b] = held, number
        elif not self.is_in_original(b):
            self._theirs[b] = number
            self._equal.add(number)

    @contextmanager
    def supposing(self, a: Value, b: Value, held: Held | None) -> Iterator[None]:
        """As if that were known of two values; afterwards, all is as it was."""
        before = self._equal.copy(), self._maps.copy(), self._stands_for.copy(), self._theirs[b]
        self.learn(a, b, held)
        try:
            yield
        finally:
            self._equal, self._maps, self._stands_for, self._theirs[b] = before

    def inside(self, a: Value) -> list[Value]:
        """What the original's part makes on the way to a value, and that itself."""
        part = self._original.part(a, lambda value: self._has_its_like(self._ours[value]))
        return [output for node in part.nodes for output in node.outputs]

    def parts(self, a: Value, b: Value) -> Parts:
        """The parts that make two values out of the last known ones before them.

        Args:
            a: of the original.
            b: of the new program.

        Raises:
            Unreadable: the new program has a value that they begin with in two forms, or has it alone.
        """
        ours = self._original.part(a, lambda value: self._has_its_like(self._ours[value]))
        theirs = self._new.part(b, lambda value: self._has_its_like(self._number_in_original(value)))
        given = [*map(self._ours.__getitem__, ours.given)], [*map(self._number_in_original, theirs.given)]
        numbers = list(dict.fromkeys((*given[0], *given[1])))
        if not self._first.keys() >= set(numbers):
            raise Unreadable("it begins with what only the new program has")
        held = {at: self._maps[number] for at, number in enumerate(numbers) if number in self._maps}
        if any(numbers[at] in self._equal for at in held):
            raise Unreadable("it begins with one value in two forms")
        had = {(self._ours[value], role) for value in ours.stored for role in ours.roles(value)}
        return Parts(
            ours=ours,
            theirs=theirs,
            begins=[self._first[number] for number in numbers],
            places=([*map(numbers.index, given[0])], [*map(numbers.index, given[1])]),
            held=held,
            changed=[
                value.tensor is not None and had.isdisjoint((self._theirs[value], role) for role in theirs.roles(value))
                for value in theirs.stored
            ],
        )
