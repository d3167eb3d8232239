"""Whether two programs are equal, part by part.

Values that the same operators make of the same values and constants are equal in both. Of all others, those that
should be equal are looked at in their order: where a part makes one out of values that are known to be equal, both
parts are run, and where the law holds, the value is known to be equal as well. One that is not may have been changed
on purpose, such as the output of a convolution that has taken up a BatchNorm: the next ones behind it are made by a
larger part. In the end the results themselves have to be known.

A larger part may hide an error in rounding, or behind a Relu. So where one holds, what was not equal inside of it is
asked again: if the rest of both parts holds for equal values there, then the rest counts on equal values, and it was
not changed on purpose but is wrong.
"""

import math
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

from bnfold.verification import TensorCheck
from bnfold.verifier.local.half_units import is_number
from bnfold.verifier.local.rows import Finding
from bnfold.verifier.programs.parts.cutting import Cutter, Part
from bnfold.verifier.programs.parts.ends import Ends, Held
from bnfold.verifier.programs.parts.graph import ProgramGraph, Unreadable, Value
from bnfold.verifier.programs.parts.matching import Numbers, candidates
from bnfold.verifier.programs.parts.pair import PartPair

# A part that has grown this large has left the place of a fold behind; only results are asked of larger ones.
_LARGEST = 150


@dataclass(frozen=True)
class Proof:
    """What was found.

    Attributes:
        checks: one for each value that the programs make in different ways, in the order of the original.
        unread: why some results could not be looked at alone; empty where all were.
        equal: the results that are equal, as `ProgramGraph.results` calls them.
    """

    checks: tuple[TensorCheck, ...]
    unread: tuple[str, ...] = ()
    equal: frozenset[str] = frozenset()


@dataclass
class Prover:
    """Compares two programs.

    Args:
        original: the one that is right.
        new: the other.
        seen: what the values of the original are, on some arguments, as `ProgramGraph.observe` gives them.
        seed: of the values that parts begin with.
    """

    original: ProgramGraph
    new: ProgramGraph
    seen: Mapping[Value, Any]
    seed: int = 0
    _near: dict[Value, tuple[Value, Held | None]] = field(default_factory=dict)
    _wrong: set[Value] = field(default_factory=set)
    _learnt: dict[Value, int] = field(default_factory=dict)
    _held: dict[tuple[Value, Value], Held] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._numbers = Numbers()
        self._ours = self._numbers.of(self.original, {})
        self._first = {number: value for value, number in reversed(self._ours.items())}
        self._cutters = Cutter(self.original), Cutter(self.new)
        nodes = (*self.original.nodes, *self.new.nodes)
        self._readers = Counter(value for node in nodes for value in set(node.operands))
        self._number_again()

    def _number_again(self) -> None:
        """What is made of values that are known to be equal, in the same way, is equal as well."""
        self._theirs = self._numbers.of(self.new, self._learnt)
        self._shared = self._first.keys() & self._theirs.values()

    def _known(self, side: int, hidden: Collection[int] = ()) -> set[Value]:
        """The values of one program, 0 or 1, that the other has as well, or holds by a map."""
        numbers = (self._ours, self._theirs)[side]
        equal = {value for value, number in numbers.items() if number in self._shared and number not in hidden}
        return equal | {pair[side] for pair in self._held if self._ours[pair[0]] not in hidden}

    def _is_known(self, a: Value, b: Value) -> bool:
        """Whether one of two values needs no look any more."""
        held = any(a is pair[0] or b is pair[1] for pair in self._held)
        return held or not self._shared.isdisjoint((self._ours[a], self._theirs[b]))

    def _cut(self, a: Value, b: Value, hidden: Collection[int] = ()) -> tuple[Part, Part]:
        """The parts that make two values."""
        return self._cutters[0].cut(a, self._known(0, hidden)), self._cutters[1].cut(b, self._known(1, hidden))

    def _begins(self, ours: Part, theirs: Part) -> tuple[list[int], list[int]]:
        """The numbers of what two parts begin with; what the new program holds by a map has that of the original."""
        held = {b: self._ours[a] for a, b in self._held}
        return [self._ours[value] for value in ours.given], [
            held.get(value, self._theirs[value]) for value in theirs.given
        ]

    def run(self) -> Proof:
        """Look at all values that should be equal, and then at the results."""
        checks: dict[Value, TensorCheck] = {}
        for a, b in self._candidates():
            if self._is_known(a, b) or self._is_tangled(a, b):
                continue
            try:
                check = self._look(a, b, _LARGEST)
            except Unreadable:
                continue
            if check is not None:
                by_map = None if check.passed else self._look_by_map(a, b)
                checks[a] = by_map or check
                if by_map is None:
                    self._take(a, b, check)
        return self._results(checks)

    def _take(self, a: Value, b: Value, check: TensorCheck) -> None:
        """Note what a look at two values says of them, and of those inside of the part that made them."""
        if not check.passed:
            if math.isfinite(check.excess):
                self._near[a] = b, None
            return
        inside = [output for node in self._cutters[0].cut(a, self._known(0)).nodes for output in node.outputs]
        for value in inside if self._has_values(a) else ():
            if value in self._near and self._counts_on(value, a, b):
                self._wrong.add(value)
        self._learn(a, b)

    def _has_values(self, value: Value) -> bool:
        """Whether it says something of what it is made of: ranks, sizes and masks are equal for unequal values."""
        return is_number(self.seen.get(value))

    def _counts_on(self, value: Value, a: Value, b: Value) -> bool:
        """Whether the rest of two parts makes equal values of equal ones inside, which were not equal.

        Or of such as a map says, where that was nearly so.
        """
        other, held = self._near[value]
        if other is b:
            return False  # there is no rest in the new program
        del self._near[value]
        if self._theirs[other] in self._shared:
            return False
        with self._supposing(value, other, held), suppress(Unreadable):
            check = self._look(a, b, _LARGEST)
            return check is None or check.passed
        return False

    @contextmanager
    def _supposing(self, a: Value, b: Value, held: Held | None) -> Iterator[None]:
        """As if two values were equal, or the second one held the first by a map."""
        if held is not None:
            self._held[a, b] = held
            yield
            del self._held[a, b]
            return
        self._learn(a, b)
        yield
        del self._learnt[b]
        self._number_again()

    def _learn(self, a: Value, b: Value) -> None:
        if self._theirs[b] not in self._shared:
            self._learnt[b] = self._ours[a]
            self._number_again()

    def _candidates(self) -> Sequence[tuple[Value, Value]]:
        unknown = [
            [node for node in graph.nodes if not self._shared.issuperset(map(numbers.__getitem__, node.outputs))]
            for graph, numbers in ((self.original, self._ours), (self.new, self._theirs))
        ]
        pairs = dict.fromkeys(candidates(unknown[0], unknown[1], (self._ours, self._theirs)))
        return sorted(pairs, key=lambda pair: self._cutters[0].place(pair[0]))

    def _is_tangled(self, a: Value, b: Value) -> bool:
        return a in self.original.writes.entangled or b in self.new.writes.entangled

    def _results(self, checks: dict[Value, TensorCheck]) -> Proof:
        """All that passed; of what did not, the first that a wrong result is made of."""
        unread: list[str] = []
        equal: set[str] = set()
        found: dict[Value, TensorCheck] = {}
        for name, a in self.original.results.items():
            b = self.new.results.get(name)
            if b is None:
                unread.append(f"not run alone: {name} is no result of the new program")
                continue
            try:
                check = None if self._ours[a] == self._theirs[b] else self._look(a, b, math.inf)
            except Unreadable as error:
                unread.append(f"not run alone: {name}: {error}")
                continue
            if check is None or check.passed:
                equal.add(name)
            if check is not None:
                self._take(a, b, check)
                first = None if check.passed else self._first_wrong(a, checks)
                found[a if first is None else first] = check if first is None else checks[first]
        kept = {value: check for value, check in checks.items() if check.passed or value in self._wrong} | found
        ordered = sorted(kept, key=self._cutters[0].place)
        return Proof(tuple(kept[value] for value in ordered), tuple(unread), frozenset(equal))

    def _first_wrong(self, result: Value, checks: Mapping[Value, TensorCheck]) -> Value | None:
        """Of the values that were not equal, the first near one that the result is made of."""
        part = self._cutters[0].cut(result, self._known(0))
        made = [output for node in part.nodes for output in node.outputs]
        return next((value for value in made if value in checks and math.isfinite(checks[value].excess)), None)

    def _look(self, a: Value, b: Value, largest: float) -> TensorCheck | None:
        """Run the parts that make two values; None where there is nothing to run.

        Raises:
            Unreadable: they are too large, or do not run alone.
        """
        parts = self._cut(a, b)
        if max(len(part.nodes) for part in parts) > largest:
            raise Unreadable("it is too far from the last value that is equal")
        if not any(part.nodes for part in parts):
            return None
        try:
            check = self._compare(*parts, quick=math.isfinite(largest))
            wider = None if check.passed else self._from_the_same(*parts)
            return check if wider is None else self._compare(*wider, quick=math.isfinite(largest))
        except Unreadable:
            raise
        except Exception as error:  # whatever torch raises where a part does not run in float64
            raise Unreadable(str(error).strip().splitlines()[-1][:200] if str(error).strip() else "it fails") from error

    def _look_by_map(self, a: Value, b: Value) -> TensorCheck | None:
        """A look at two values that seem to be equal by a map; None where there seems to be none.

        Only tensors with several readers are asked: that a map stays there is for the sake of some of them.
        """
        if not self._has_values(a) or min(self._readers[a], self._readers[b]) <= 1:
            return None
        parts = self._cut(a, b)
        ours, theirs = map(set, self._begins(*parts))
        if ours != theirs:
            return None
        with suppress(Exception):  # whatever torch raises where a part does not run in float64
            held = self._pair(*parts).infer_end()
            if held is not None:
                check = self._compare(*parts, end=held, quick=True)
                if check.passed:
                    self._held[a, b] = held
                else:
                    self._near[a] = b, held
                return check
        return None

    def _compare(self, ours: Part, theirs: Part, *, quick: bool, end: Held | None = None) -> TensorCheck:
        finding, where = self._pair(ours, theirs, end).compare(quick=quick)
        return _told(ours, finding, where)

    def _from_the_same(self, ours: Part, theirs: Part) -> tuple[Part, Part] | None:
        """Larger parts that begin with the same values, where these do not; None where there are none.

        What only one of them begins with may be made of what the other one begins with.
        """
        hidden: set[int] = set()
        while apart := set.symmetric_difference(*map(set, self._begins(ours, theirs))):
            made = {number for number in apart - hidden if self._cutters[0].maker(self._first[number]) is not None}
            if not made:
                return None
            hidden |= made
            ours, theirs = self._cut(ours.target, theirs.target, hidden)
            if max(len(ours.nodes), len(theirs.nodes)) > _LARGEST:
                return None
        return (ours, theirs) if hidden else None

    def _pair(self, ours: Part, theirs: Part, end: Held | None = None) -> PartPair:
        """Two parts, equal values of which are fed with the same: the first value of the original stands for all.

        Args:
            ours: of the original.
            theirs: of the new program.
            end: what that holds where they end, if other values.
        """
        begins = self._begins(ours, theirs)
        numbers = list(dict.fromkeys((*begins[0], *begins[1])))
        given = [self._first[number] for number in numbers]
        unset = next((value for value in given if value not in self.seen), None)
        if unset is not None:
            raise Unreadable(f"{unset.label!r}, which it begins with, has no value where code returns early")
        maps = {self._ours[a]: held for (a, _), held in self._held.items()}
        if not self._shared.isdisjoint(maps.keys() & set(numbers)):
            raise Unreadable("it begins with one value in two forms")
        had = {(self._ours[value], role) for value in ours.stored for role in ours.roles(value)}
        return PartPair(
            graphs=(self.original, self.new),
            parts=(ours, theirs),
            places=([numbers.index(number) for number in begins[0]], [numbers.index(number) for number in begins[1]]),
            changed=[
                value.tensor is not None and had.isdisjoint((self._theirs[value], role) for role in theirs.roles(value))
                for value in theirs.stored
            ],
            seen=[self.seen[value] for value in given],
            seed=self.seed,
            ends=Ends({numbers.index(number): held for number, held in maps.items() if number in numbers}, end),
        )


def _told(part: Part, finding: Finding, where: str) -> TensorCheck:
    place = "" if finding.channel is None else f"channel {finding.channel} "
    told = f"{finding.values[1]:.9g} against {finding.values[0]:.9g} in the original"
    problem = f"{place}differs: {told}, {finding.excess:.3g} times what rounding explains, {where}"
    return TensorCheck(
        name=part.target.label,
        inside=frozenset(output.label for node in part.nodes for output in node.outputs),
        max_rel=finding.error / finding.scale if finding.scale else 0.0,
        channel=finding.channel,
        passed=finding.excess <= 1,
        excess=finding.excess,
        problem=problem if finding.excess > 1 else "",
    )
