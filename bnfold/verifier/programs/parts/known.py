"""What is known of the values of two programs: which are equal, and which the new program holds by a map."""

from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager

from bnfold.verifier.models.held import Held
from bnfold.verifier.programs.parts.cutting import Cutter, Part
from bnfold.verifier.programs.parts.graph import ProgramGraph, Unreadable, Value
from bnfold.verifier.programs.parts.matching import Numbers, candidates


class Known:
    """Grows while values are looked at.

    Args:
        original: the one program.
        new: the other.
    """

    def __init__(self, original: ProgramGraph, new: ProgramGraph) -> None:
        self._graphs = original, new
        self._numbers = Numbers()
        self._ours = self._numbers.of(original, {})
        self._first = {number: value for value, number in reversed(self._ours.items())}
        self._cutters = Cutter(original), Cutter(new)
        self._readers = Counter(value for graph in self._graphs for node in graph.nodes for value in set(node.operands))
        self._learnt: dict[Value, int] = {}
        self._held: dict[tuple[Value, Value], Held] = {}
        self._number_again()

    def _number_again(self) -> None:
        """What is made of values that are known to be equal, in the same way, is equal as well."""
        self._theirs = self._numbers.of(self._graphs[1], self._learnt)
        self._shared = self._first.keys() & self._theirs.values()

    def are_equal(self, a: Value, b: Value) -> bool:
        """Whether two values are known to be equal."""
        return self._ours[a] == self._theirs[b]

    def is_settled(self, a: Value, b: Value) -> bool:
        """Whether one of two values is known to have its like, equal or by a map."""
        held = any(a is pair[0] or b is pair[1] for pair in self._held)
        return held or self._ours[a] in self._shared or self.is_in_original(b)

    def is_in_original(self, value: Value) -> bool:
        """Whether a value of the new program is known to be equal to one of the original."""
        return self._theirs[value] in self._shared

    def have_several_readers(self, a: Value, b: Value) -> bool:
        """Whether more than one node reads each of two values."""
        return min(self._readers[a], self._readers[b]) > 1

    def learn(self, a: Value, b: Value) -> None:
        """Two values are equal."""
        if not self.is_in_original(b):
            self._learnt[b] = self._ours[a]
            self._number_again()

    def hold(self, a: Value, b: Value, held: Held) -> None:
        """The new program holds b in place of a."""
        self._held[a, b] = held

    @contextmanager
    def supposing(self, a: Value, b: Value, held: Held | None) -> Iterator[None]:
        """As if two values, of which nothing is known, were equal; or the second held the first by a map."""
        if held is None:
            self.learn(a, b)
        else:
            self.hold(a, b, held)
        try:
            yield
        finally:
            self._held.pop((a, b), None)
            if self._learnt.pop(b, None) is not None:
                self._number_again()

    def candidates(self) -> Sequence[tuple[Value, Value]]:
        """Pairs of values that should be equal, and are not known to be, in the order of the original."""
        unknown = [
            [node for node in graph.nodes if not self._shared.issuperset(map(numbers.__getitem__, node.outputs))]
            for graph, numbers in zip(self._graphs, (self._ours, self._theirs), strict=True)
        ]
        pairs = dict.fromkeys(candidates(unknown[0], unknown[1], (self._ours, self._theirs)))
        return sorted(pairs, key=lambda pair: self.place(pair[0]))

    def place(self, value: Value) -> int:
        """Where the original makes a value."""
        return self._cutters[0].place(value)

    def cut(self, a: Value, b: Value, hidden: Collection[int] = ()) -> tuple[Part, Part]:
        """The parts that make two values out of the last known ones before them.

        Args:
            a: of the original.
            b: of the new program.
            hidden: numbers of known values not to stop at.
        """
        return self._cutters[0].cut(a, self._stops(0, hidden)), self._cutters[1].cut(b, self._stops(1, hidden))

    def inside(self, a: Value) -> list[Value]:
        """What the original's part makes on the way to a value, and that itself."""
        return [output for node in self._cutters[0].cut(a, self._stops(0)).nodes for output in node.outputs]

    def _stops(self, side: int, hidden: Collection[int] = ()) -> set[Value]:
        numbers = (self._ours, self._theirs)[side]
        equal = {value for value, number in numbers.items() if number in self._shared and number not in hidden}
        return equal | {pair[side] for pair in self._held if self._ours[pair[0]] not in hidden}

    def begins(self, ours: Part, theirs: Part) -> tuple[list[int], list[int]]:
        """The numbers of what two parts begin with; what the new program holds by a map has that of the original."""
        held = {b: self._ours[a] for a, b in self._held}
        new = [held.get(value, self._theirs[value]) for value in theirs.given]
        return [self._ours[value] for value in ours.given], new

    def first(self, number: int) -> Value:
        """Of the original's values with a number, the first."""
        return self._first[number]

    def maps(self, numbers: Collection[int]) -> dict[int, Held]:
        """What the new program holds in place of some of the original's values, by their numbers.

        Raises:
            Unreadable: it has such a value in two forms.
        """
        found = {self._ours[a]: held for (a, _), held in self._held.items() if self._ours[a] in numbers}
        if not self._shared.isdisjoint(found):
            raise Unreadable("it begins with one value in two forms")
        return found

    def changed(self, ours: Part, theirs: Part) -> list[bool]:
        """Which of the new part's stored tensors the original's has not in the same role."""
        had = {(self._ours[value], role) for value in ours.stored for role in ours.roles(value)}
        return [
            value.tensor is not None and had.isdisjoint((self._theirs[value], role) for role in theirs.roles(value))
            for value in theirs.stored
        ]

    def from_the_same(self, ours: Part, theirs: Part, largest: int) -> tuple[Part, Part] | None:
        """Larger parts that begin with the same values, where these do not; None where there are none.

        What only one of them begins with may be made of what the other one begins with.

        Args:
            ours: of the original.
            theirs: of the new program.
            largest: how many nodes they may have.
        """
        hidden: set[int] = set()
        while apart := set.symmetric_difference(*map(set, self.begins(ours, theirs))):
            made = {number for number in apart - hidden if self._cutters[0].maker(self._first[number]) is not None}
            if not made:
                return None
            hidden |= made
            ours, theirs = self.cut(ours.target, theirs.target, hidden)
            if max(len(ours.nodes), len(theirs.nodes)) > largest:
                return None
        return (ours, theirs) if hidden else None
