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
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

from bnfold.errors import first_line
from bnfold.verification import TensorCheck
from bnfold.verifier.local.ends import Ends
from bnfold.verifier.local.half_units import is_number
from bnfold.verifier.local.rows import Finding
from bnfold.verifier.models.held import Held
from bnfold.verifier.programs.parts.graph import Part, ProgramGraph, Unreadable, Value
from bnfold.verifier.programs.parts.known import Known, Parts
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


class Prover:
    """Compares two programs.

    Args:
        original: the one that is right.
        new: the other.
        seen: what the values of the original are, on some arguments, as `ProgramGraph.observe` gives them.
        seed: of the values that parts begin with.
    """

    def __init__(self, original: ProgramGraph, new: ProgramGraph, seen: Mapping[Value, Any], seed: int = 0) -> None:
        self._original, self._new, self._seen, self._seed = original, new, seen, seed
        self._known = Known(original, new)
        self._checks: dict[Value, TensorCheck] = {}
        self._near: dict[Value, tuple[Value, Held | None]] = {}
        self._wrong: set[Value] = set()

    def run(self) -> Proof:
        """Look at all values that should be equal, and then at the results."""
        for a, b in self._known.walk():
            with suppress(Unreadable):
                check, held = self._look(a, b), None
                if check is not None and not check.passed:
                    check, held = self._look_by_map(a, b) or (check, None)
                if check is not None:
                    self._checks[a] = check
                    self._take(a, b, held, check)
        return self._results()

    def _take(self, a: Value, b: Value, held: Held | None, check: TensorCheck) -> None:
        """Note what a look at two values says of them, and of those inside of the part that made them."""
        if not check.passed:
            if held is not None or math.isfinite(check.excess):
                self._near[a] = b, held
            return
        for value in self._known.inside(a) if held is None and self._has_values(a) else ():
            if value in self._near and self._counts_on(value, a, b):
                self._wrong.add(value)
        self._known.learn(a, b, held)

    def _has_values(self, value: Value) -> bool:
        """Whether it says something of what it is made of: ranks, sizes and masks are equal for unequal values."""
        return is_number(self._seen.get(value))

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
            check = self._look(a, b)
            return check is None or check.passed
        return False

    def _results(self) -> Proof:
        """All that passed; of what did not, the first that a wrong result is made of."""
        unread: list[str] = []
        equal: set[str] = set()
        found: dict[Value, TensorCheck] = {}
        for name, a in self._original.results.items():
            b = self._new.results.get(name)
            if b is None:
                unread.append(f"not run alone: {name} is no result of the new program")
                continue
            try:
                is_known = self._known.are_equal(a, b)
                check = None if is_known else self._look(a, b, is_result=True)
            except Unreadable as error:
                unread.append(f"not run alone: {name}: {error}")
                continue
            if is_known or (check is not None and check.passed):
                equal.add(name)
            if check is not None:
                self._take(a, b, None, check)
                first = a if check.passed else self._first_wrong(a)
                found[first] = self._checks[first] if first is not a else check
        kept = {value: check for value, check in self._checks.items() if check.passed or value in self._wrong} | found
        ordered = sorted(kept, key=self._original.place)
        return Proof(tuple(kept[value] for value in ordered), tuple(unread), frozenset(equal))

    def _first_wrong(self, result: Value) -> Value:
        """Of the values that were not equal, the first near one that the result is made of; that itself without any."""
        inside = (value for value in self._known.inside(result) if value in self._checks)
        return next((value for value in inside if math.isfinite(self._checks[value].excess)), result)

    def _look(self, a: Value, b: Value, *, is_result: bool = False) -> TensorCheck | None:
        """Run the parts that make two values; None where there is nothing to run.

        Raises:
            Unreadable: they are too large, unless that is a result; or they do not run alone.
        """
        parts = self._known.parts(a, b)
        size = max(len(parts.ours.nodes), len(parts.theirs.nodes))
        if size > _LARGEST and not is_result:
            raise Unreadable("it is too far from the last value that is equal")
        return self._compare(parts, quick=not is_result) if size else None

    def _look_by_map(self, a: Value, b: Value) -> tuple[TensorCheck, Held] | None:
        """A look at two values that seem to be equal by a map; None where there seems to be none.

        Only tensors with several readers are asked: that a map stays there is for the sake of some of them.
        """
        if not self._has_values(a) or not self._known.have_several_readers(a, b):
            return None
        with suppress(Unreadable), _run_alone():
            parts = self._known.parts(a, b)
            held = self._pair(parts).infer_end()
            return None if held is None else (self._compare(parts, held, quick=True), held)
        return None

    def _compare(self, parts: Parts, end: Held | None = None, *, quick: bool) -> TensorCheck:
        """Run two parts; `end` is what the new program holds where they end, if other values."""
        with _run_alone():
            return _told(parts.ours, *self._pair(parts, end).compare(quick=quick))

    def _pair(self, parts: Parts, end: Held | None = None) -> PartPair:
        unset = next((value for value in parts.begins if value not in self._seen), None)
        if unset is not None:
            raise Unreadable(f"{unset.label!r}, which it begins with, has no value where code returns early")
        seen = [self._seen[value] for value in parts.begins]
        return PartPair((self._original, self._new), parts, seen, self._seed, Ends(parts.held, end))


@contextmanager
def _run_alone() -> Iterator[None]:
    """Whatever torch raises where a part does not run in float64, in one line.

    Raises:
        Unreadable: that.
    """
    try:
        yield
    except Unreadable:
        raise
    except Exception as error:
        raise Unreadable(first_line(error)[:200]) from error


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
