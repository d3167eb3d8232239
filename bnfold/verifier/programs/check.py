"""Whether two programs of torch compute the same, by running both: as wholes, and part by part where they differ."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from bnfold.errors import UncheckedError
from bnfold.verification import Verification, VerifyOptions
from bnfold.verifier.compare.arrays import differences
from bnfold.verifier.compare.noise import NoiseLevel
from bnfold.verifier.compare.statistics import OutputStatistics
from bnfold.verifier.compare.tolerance import is_open, limits_of, noise_matters, own_tolerance
from bnfold.verifier.programs.inputs import TorchFeed, choose_feed, inputs_named
from bnfold.verifier.programs.opening import open_program
from bnfold.verifier.programs.program import Call, TorchProgram
from bnfold.verifier.programs.tensors import same_values
from bnfold.verifier.progress import Count, Progress
from bnfold.verifier.verdict import failed, verdict_on

_CALLS = 3
"""In a row, of a program that changes its state."""

if TYPE_CHECKING:
    from bnfold.verifier.programs.float64 import Float64Reference
    from bnfold.verifier.programs.parts.prove import Proof


def check_torch(
    reference: object,
    candidate: object,
    options: VerifyOptions | None = None,
    progress: Progress = lambda _: None,
) -> Verification:
    """Run both programs on the same inputs, and compare every output and every tensor inside that both show.

    Args:
        reference: the original, a ScriptModule or an ExportedProgram.
        candidate: the new program, of the same kind.
        options: inputs and tolerances; None for the defaults.
        progress: told what is being done.

    Returns:
        A verification that passed, or that failed and says where.

    Raises:
        UsageError: nothing says the shape of an input, or the options contradict the program.
        UncheckedError: the reference does not run, so that nothing can be compared with it.
    """
    options = options or VerifyOptions()
    named = inputs_named(options)
    original = open_program("the original", reference, named)
    new = open_program("the new program", candidate, named)
    problem = _signature_difference(original, new)
    if problem:
        return failed(options, problem)
    feed = choose_feed(original, options)
    return _Comparison(original, new, feed, options).run(Count(progress, feed.samples))


def _signature_difference(original: TorchProgram, new: TorchProgram) -> str:
    before, after = ([(port.name, port.type) for port in program.ports] for program in (original, new))
    if before == after:
        return ""
    return f"inputs {_ports(after)} against {_ports(before)} in the original"


def _ports(ports: Sequence[tuple[str, str]]) -> str:
    return ", ".join(f"{name} ({kind})" for name, kind in ports) or "none"


class _Comparison:
    """Two programs of one signature, and a way to feed them: as wholes on the samples, and part by part."""

    def __init__(self, original: TorchProgram, new: TorchProgram, feed: TorchFeed, options: VerifyOptions) -> None:
        self._original, self._new, self._feed, self._options = original, new, feed, options
        self._outputs: dict[str, OutputStatistics] = {}

    def run(self, count: Count) -> Verification:
        """Compare sample by sample. What the original refuses is left out; what only the new program refuses fails."""
        left_out: list[str] = []
        for number in range(self._feed.samples):
            where = self._feed.name(number)
            try:
                sample = self._sample(number)
            except UncheckedError as error:
                left_out.append(f"{where} left out: {error}")
                continue
            try:
                problem = self._compare(sample, where)
            except UncheckedError as error:
                problem = f"{error} (in {where})"
            if problem:
                return failed(self._options, problem)
            count.input_done()
        samples, outputs = self._feed.samples - len(left_out), list(self._outputs.values())
        return verdict_on(samples, outputs, self._parts.checks, self._options, left_out, self._parts.unread)

    @cached_property
    def _reference(self) -> "Float64Reference":
        """Both programs in float64."""
        from bnfold.verifier.programs.float64 import Float64Reference

        return Float64Reference(self._original, self._new, self._parts.equal)

    @cached_property
    def _parts(self) -> "Proof":
        """What was found where the programs differ, part by part; and why some of it could not be looked at."""
        from bnfold.verifier.programs.parts.graph import Unreadable
        from bnfold.verifier.programs.parts.prove import Proof, Prover

        if own_tolerance(self._options) is not None:
            return Proof(())
        try:
            ours, theirs = self._original.graph(), self._new.graph()
            seen = self._original.observe(ours, self._feed.leaves(0))
            return Prover(ours, theirs, seen, self._options.seed).run()
        except (Unreadable, UncheckedError) as error:
            return Proof((), (f"no part was run alone: {error}",))

    def _sample(self, number: int) -> "_Sample":
        """One call, or several in a row where the first changes the state of the original."""
        row = [self._feed.leaves(number + later) for later in range(_CALLS)]
        calls = self._original.calls(row[:1])
        return _Sample(row, self._original.calls(row)) if calls[0].changed_state else _Sample(row[:1], calls)

    def _compare(self, sample: "_Sample", where: str) -> str:
        """Count one sample; what is wrong beyond single values, in one line."""
        ours, theirs = self._original.initial, self._new.initial
        for name in sample.calls[-1].changed_state:
            if name in ours and not same_values(ours[name], theirs.get(name)):
                return f"{name!r} does not begin with the values that it has in the original"
        for number, (call, other) in enumerate(zip(sample.calls, self._new.calls(sample.row), strict=True)):
            if list(call.results) != list(other.results):
                names = ", ".join(other.results), ", ".join(call.results)
                return f"outputs {names[0]} against {names[1]} in the original, in {where}"
            pairs = {name: (value, other.results[name]) for name, value in call.results.items()}
            for name in (*call.changed, *other.changed):
                if name not in call.left or name not in other.left:
                    return f"{name!r} changes in one of the programs, and the other has none, in {where}"
                pairs[name] = call.left[name], other.left[name]
            for name, values in pairs.items():
                self._count(name, number, values, sample.row[0], where)
        return ""

    def _count(self, name: str, number: int, values: tuple[object, object], leaves: Sequence[Any], where: str) -> None:
        """Count a result of one call; where something inside is known to be wrong, without the benefit of the doubt."""
        called = name if number == 0 else f"{name} in call {number + 1}"
        statistics = self._outputs.setdefault(called, OutputStatistics(called, self._options))
        statistics.see(values[0])
        entries = differences(*values)
        if not any(noise_matters(entry, self._options) for entry in entries) or self._is_wrong:
            statistics.add(entries, None, where)
            return
        precision = self._original.precision(leaves)
        limits = limits_of(entries[0].dtype, precision)
        found = self._reference.compare(name if number == 0 else None, leaves, values, limits)
        noise = None if found.noise is None else NoiseLevel(found.noise, precision)
        if noise is not None and not found.doubt and is_open(entries, self._options, noise):
            statistics.settle(entries, noise)
        else:
            statistics.add(entries, noise, where, found.doubt)

    @property
    def _is_wrong(self) -> bool:
        """Whether some part is known to be."""
        return not all(part.passed for part in self._parts.checks)


@dataclass(frozen=True)
class _Sample:
    """What the original makes of one sample: of one call, or of several in a row.

    Attributes:
        row: the leaves of the arguments of each call.
        calls: what they made.
    """

    row: Sequence[Sequence[Any]]
    calls: Sequence[Call]
