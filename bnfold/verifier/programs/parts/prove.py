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
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from bnfold.verification import TensorCheck
from bnfold.verifier.local.ends import Ends
from bnfold.verifier.local.half_units import is_number
from bnfold.verifier.local.rows import Finding
from bnfold.verifier.models.held import Held
from bnfold.verifier.programs.parts.cutting import Part
from bnfold.verifier.programs.parts.graph import ProgramGraph, Unreadable, Value
from bnfold.verifier.programs.parts.known import Known
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

    def __post_init__(self) -> None:
        self._known = Known(self.original, self.new)

    def run(self) -> Proof:
        """Look at all values that should be equal, and then at the results."""
        checks: dict[Value, TensorCheck] = {}
        for a, b in self._known.candidates():
            if self._known.is_settled(a, b) or self._is_tangled(a, b):
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
        for value in self._known.inside(a) if self._has_values(a) else ():
            if value in self._near and self._counts_on(value, a, b):
                self._wrong.add(value)
        self._known.learn(a, b)

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
        if self._known.is_in_original(other):
            return False
        with self._known.supposing(value, other, held), suppress(Unreadable):
            check = self._look(a, b, _LARGEST)
            return check is None or check.passed
        return False

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
                check = None if self._known.are_equal(a, b) else self._look(a, b, math.inf)
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
        ordered = sorted(kept, key=self._known.place)
        return Proof(tuple(kept[value] for value in ordered), tuple(unread), frozenset(equal))

    def _first_wrong(self, result: Value, checks: Mapping[Value, TensorCheck]) -> Value | None:
        """Of the values that were not equal, the first near one that the result is made of."""
        return next(
            (value for value in self._known.inside(result) if value in checks and math.isfinite(checks[value].excess)),
            None,
        )

    def _look(self, a: Value, b: Value, largest: float) -> TensorCheck | None:
        """Run the parts that make two values; None where there is nothing to run.

        Raises:
            Unreadable: they are too large, or do not run alone.
        """
        parts = self._known.cut(a, b)
        if max(len(part.nodes) for part in parts) > largest:
            raise Unreadable("it is too far from the last value that is equal")
        if not any(part.nodes for part in parts):
            return None
        try:
            check = self._compare(*parts, quick=math.isfinite(largest))
            wider = None if check.passed else self._known.from_the_same(*parts, _LARGEST)
            return check if wider is None else self._compare(*wider, quick=math.isfinite(largest))
        except Unreadable:
            raise
        except Exception as error:  # whatever torch raises where a part does not run in float64
            raise Unreadable(str(error).strip().splitlines()[-1][:200] if str(error).strip() else "it fails") from error

    def _look_by_map(self, a: Value, b: Value) -> TensorCheck | None:
        """A look at two values that seem to be equal by a map; None where there seems to be none.

        Only tensors with several readers are asked: that a map stays there is for the sake of some of them.
        """
        if not self._has_values(a) or not self._known.have_several_readers(a, b):
            return None
        parts = self._known.cut(a, b)
        ours, theirs = map(set, self._known.begins(*parts))
        if ours != theirs:
            return None
        with suppress(Exception):  # whatever torch raises where a part does not run in float64
            held = self._pair(*parts).infer_end()
            if held is not None:
                check = self._compare(*parts, end=held, quick=True)
                if check.passed:
                    self._known.hold(a, b, held)
                else:
                    self._near[a] = b, held
                return check
        return None

    def _compare(self, ours: Part, theirs: Part, *, quick: bool, end: Held | None = None) -> TensorCheck:
        finding, where = self._pair(ours, theirs, end).compare(quick=quick)
        return _told(ours, finding, where)

    def _pair(self, ours: Part, theirs: Part, end: Held | None = None) -> PartPair:
        """Two parts, equal values of which are fed with the same: the first value of the original stands for all.

        Args:
            ours: of the original.
            theirs: of the new program.
            end: what that holds where they end, if other values.
        """
        begins = self._known.begins(ours, theirs)
        numbers = list(dict.fromkeys((*begins[0], *begins[1])))
        given = [self._known.first(number) for number in numbers]
        unset = next((value for value in given if value not in self.seen), None)
        if unset is not None:
            raise Unreadable(f"{unset.label!r}, which it begins with, has no value where code returns early")
        return PartPair(
            graphs=(self.original, self.new),
            parts=(ours, theirs),
            places=([numbers.index(number) for number in begins[0]], [numbers.index(number) for number in begins[1]]),
            changed=self._known.changed(ours, theirs),
            seen=[self.seen[value] for value in given],
            seed=self.seed,
            ends=Ends({numbers.index(number): held for number, held in self._known.maps(numbers).items()}, end),
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
