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
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch

from bnfold.verification import TensorCheck
from bnfold.verifier.local.rows import Finding
from bnfold.verifier.programs.parts.cutting import Cutter, Part
from bnfold.verifier.programs.parts.graph import ProgramGraph, Unreadable, Value
from bnfold.verifier.programs.parts.matching import Keys, candidates
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
    _partner: dict[Value, Value] = field(default_factory=dict)
    _origin: dict[Value, Value] = field(default_factory=dict)
    _near: dict[Value, Value] = field(default_factory=dict)
    _wrong: set[Value] = field(default_factory=set)
    _first: dict[int, Value] = field(default_factory=dict)

    def __post_init__(self) -> None:
        numbers = Keys()
        self._keys = numbers.of(self.original), numbers.of(self.new)
        self._first = {number: value for value, number in reversed(self._keys[0].items())}
        known = {number: value for value, number in self._keys[0].items()}
        for value, number in self._keys[1].items():
            if number in known:
                self._origin[value] = known[number]
        of_number = {number: value for value, number in self._keys[1].items()}
        for value, number in self._keys[0].items():
            if number in of_number:
                self._partner[value] = of_number[number]
        self._cutters = Cutter(self.original), Cutter(self.new)

    def run(self) -> Proof:
        """Look at all values that should be equal, and then at the results."""
        checks: dict[Value, TensorCheck] = {}
        for a, b in self._candidates():
            if a in self._partner or b in self._origin or self._is_tangled(a, b):
                continue
            if self._follows(a, b):
                self._learn(a, b)
                continue
            try:
                check = self._look(a, b, _LARGEST)
            except Unreadable:
                continue
            if check is not None:
                checks[a] = check
                self._take(a, b, check)
        return self._results(checks)

    def _take(self, a: Value, b: Value, check: TensorCheck) -> None:
        """Note what a look at two values says of them, and of those inside of the part that made them."""
        if not check.passed:
            if math.isfinite(check.excess):
                self._near[a] = b
            return
        inside = [output for node in self._cutters[0].cut(a, self._partner).nodes for output in node.outputs]
        for value in inside if self._has_values(a) else ():
            if value in self._near and self._counts_on(value, a, b):
                self._wrong.add(value)
        self._learn(a, b)

    def _has_values(self, value: Value) -> bool:
        """Whether it says something of what it is made of: ranks, sizes and masks are equal for unequal values."""
        seen = self.seen.get(value)
        return isinstance(seen, torch.Tensor) and (seen.is_floating_point() or seen.is_complex())

    def _counts_on(self, value: Value, a: Value, b: Value) -> bool:
        """Whether the rest of two parts makes equal values of equal ones inside, which were not equal."""
        if self._near[value] is b:
            return False  # there is no rest in the new program
        other = self._near.pop(value)
        if other in self._origin:
            return False
        self._learn(value, other)
        try:
            check = self._look(a, b, _LARGEST)
        except Unreadable:
            return False
        finally:
            del self._partner[value], self._origin[other]
        return check is None or check.passed

    def _learn(self, a: Value, b: Value) -> None:
        self._partner.setdefault(a, b)
        self._origin.setdefault(b, a)

    def _follows(self, a: Value, b: Value) -> bool:
        """Whether one operator makes both, of values that are known to be equal."""
        ours, theirs = self._cutters[0].maker(a), self._cutters[1].maker(b)
        if ours is None or theirs is None or (ours.op, ours.static) != (theirs.op, theirs.static):
            return False
        if ours.outputs.index(a) != theirs.outputs.index(b) or len(ours.operands) != len(theirs.operands):
            return False
        if any(node.is_random for node in (ours, theirs)) or self._is_tangled(a, b):
            return False
        pairs = zip(ours.operands, theirs.operands, strict=True)
        return all(
            self._partner.get(left) is right or self._keys[0][left] == self._keys[1][right] for left, right in pairs
        )

    def _candidates(self) -> Sequence[tuple[Value, Value]]:
        theirs = [
            [node for node in graph.nodes if not all(output in known for output in node.outputs)]
            for graph, known in ((self.original, self._partner), (self.new, self._origin))
        ]
        pairs = dict.fromkeys(candidates(theirs[0], theirs[1], self._keys))
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
                check = None if self._is_equal(a, b) else self._look(a, b, math.inf)
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

    def _is_equal(self, a: Value, b: Value) -> bool:
        return self._partner.get(a) is b or (a in self._partner and self._keys[0][a] == self._keys[1].get(b))

    def _first_wrong(self, result: Value, checks: Mapping[Value, TensorCheck]) -> Value | None:
        """Of the values that were not equal, the first near one that the result is made of."""
        part = self._cutters[0].cut(result, self._partner)
        made = [output for node in part.nodes for output in node.outputs]
        return next((value for value in made if value in checks and math.isfinite(checks[value].excess)), None)

    def _look(self, a: Value, b: Value, largest: float) -> TensorCheck | None:
        """Run the parts that make two values; None where there is nothing to run.

        Raises:
            Unreadable: they are too large, or do not run alone.
        """
        parts = self._cutters[0].cut(a, self._partner), self._cutters[1].cut(b, self._origin)
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

    def _compare(self, ours: Part, theirs: Part, *, quick: bool) -> TensorCheck:
        finding, where = self._pair(ours, theirs).compare(quick=quick)
        return _told(ours, finding, where)

    def _from_the_same(self, ours: Part, theirs: Part) -> tuple[Part, Part] | None:
        """Larger parts that begin with the same values, where these do not; None where there are none.

        What only one of them begins with may be made of what the other one begins with.
        """
        hidden: set[Value] = set()
        while apart := set(ours.given) ^ {self._origin[value] for value in theirs.given}:
            made = {value for value in apart - hidden if self._cutters[0].maker(value) is not None}
            if not made:
                return None
            hidden |= made
            ours = self._cutters[0].cut(ours.target, self._partner.keys() - hidden)
            known = {value for value, origin in self._origin.items() if origin not in hidden}
            theirs = self._cutters[1].cut(theirs.target, known)
            if max(len(ours.nodes), len(theirs.nodes)) > _LARGEST:
                return None
        return (ours, theirs) if hidden else None

    def _pair(self, ours: Part, theirs: Part) -> PartPair:
        """Two parts, equal values of which are fed with the same: the first value of the original stands for all."""
        keys = self._keys
        begins = [
            [self._first[keys[0][value]] for value in ours.given],
            [self._first[keys[0][self._origin[value]]] for value in theirs.given],
        ]
        given = list(dict.fromkeys((*begins[0], *begins[1])))
        unset = next((value for value in given if value not in self.seen), None)
        if unset is not None:
            raise Unreadable(f"{unset.label!r}, which it begins with, has no value where code returns early")
        places = tuple([given.index(value) for value in side] for side in begins)
        had = {keys[0][value] for value in ours.stored}
        return PartPair(
            graphs=(self.original, self.new),
            parts=(ours, theirs),
            places=(places[0], places[1]),
            changed=[value.tensor is not None and keys[1][value] not in had for value in theirs.stored],
            seen=[self.seen[value] for value in given],
            seed=self.seed,
        )


def _told(part: Part, finding: Finding, where: str) -> TensorCheck:
    place = "" if finding.channel is None else f"channel {finding.channel} "
    told = f"{finding.values[1]:.9g} against {finding.values[0]:.9g} in the original"
    problem = f"{place}differs: {told}, {finding.excess:.3g} times what rounding explains, on {where}"
    return TensorCheck(
        name=part.target.label,
        inside=frozenset(output.label for node in part.nodes for output in node.outputs),
        max_rel=finding.error / finding.scale if finding.scale else 0.0,
        channel=finding.channel,
        passed=finding.excess <= 1,
        excess=finding.excess,
        problem=problem if finding.excess > 1 else "",
    )
