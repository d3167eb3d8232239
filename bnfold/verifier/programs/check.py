"""Whether two programs of torch compute the same, by running both in torch, and as ONNX models under onnxruntime."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from bnfold.errors import UncheckedError
from bnfold.intake import message
from bnfold.verifier.compare.arrays import differences
from bnfold.verifier.compare.noise import MOST_ROUNDINGS, NoiseLevel
from bnfold.verifier.compare.statistics import Tally
from bnfold.verifier.compare.tolerance import differ, is_open, limits_of, noise_matters
from bnfold.verifier.options import VerifyOptions
from bnfold.verifier.pipeline import check
from bnfold.verifier.programs.inputs import (
    TorchFeed,
    choose_feed,
    count_samples,
    draw_leaves,
    inputs_named,
    name_of_sample,
)
from bnfold.verifier.programs.noise import Rounding, grain_of, level, other_roundings, rounding_of_weights
from bnfold.verifier.programs.onnx import export_onnx, with_own_names
from bnfold.verifier.programs.opening import open_program
from bnfold.verifier.programs.program import TorchProgram
from bnfold.verifier.programs.result import TorchVerification
from bnfold.verifier.programs.rows import CALLS, Row, other_state, side_by_side
from bnfold.verifier.programs.tensors import Array, same_values, to_array
from bnfold.verifier.result import TensorCheck

if TYPE_CHECKING:
    from bnfold.verifier.programs.truth import Truth


def check_torch(
    reference: object,
    candidate: object,
    options: VerifyOptions | None = None,
) -> TorchVerification:
    """Run both programs on the same inputs, and compare every output and every tensor inside that both show.

    Args:
        reference: the original, a ScriptModule or an ExportedProgram.
        candidate: the new program, of the same kind.
        options: inputs and tolerances; None for the defaults.

    Returns:
        A verification that passed, or that failed and says where. It was made under onnxruntime as well where torch
        can export both programs; `runtimes` and `warnings` say whether.

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
        return _failed(options, problem)
    feed = choose_feed(original, options)
    verdict = _Trial(original, new, feed, options).run()
    if not verdict.passed:
        return verdict
    leaves = draw_leaves(feed, options, sample=0)
    why_not = _why_not_onnx(original, leaves)
    if why_not:
        return replace(verdict, warnings=(*verdict.warnings, f"not compared under onnxruntime: {why_not}"))
    return _with_onnx(verdict, (reference, candidate), original.arguments(leaves), leaves, feed, options)


def _failed(options: VerifyOptions, problem: str) -> TorchVerification:
    return TorchVerification(status="failed", samples=0, seed=options.seed, problem=problem)


def _signature_difference(original: TorchProgram, new: TorchProgram) -> str:
    before, after = ([(port.name, port.type) for port in program.ports] for program in (original, new))
    if before == after:
        return ""
    return f"inputs {_ports(after)} against {_ports(before)} in the original"


def _ports(ports: Sequence[tuple[str, str]]) -> str:
    return ", ".join(f"{name} ({kind})" for name, kind in ports) or "none"


@dataclass
class _Trial:
    """Two programs of one signature, and a way to feed them."""

    original: TorchProgram
    new: TorchProgram
    feed: TorchFeed
    options: VerifyOptions
    _outputs: dict[str, Tally] = field(default_factory=dict)

    def run(self) -> TorchVerification:
        """Compare sample by sample. What the original refuses is left out; what only the new program refuses fails."""
        left_out: list[str] = []
        count = count_samples(self.feed, self.options)
        for number in range(count):
            where = name_of_sample(self.feed, self.options, number)
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
                return _failed(self.options, problem)
        return self._put_together(count - len(left_out), left_out)

    def _sample(self, number: int) -> "_Sample":
        """One call, or several in a row where the first changes the state of the original."""
        draws = [draw_leaves(self.feed, self.options, number + later) for later in range(CALLS)]
        first = _Sample(self.original, draws[:1])
        return _Sample(self.original, draws) if first.is_stateful else first

    def _compare(self, sample: "_Sample", where: str) -> str:
        """Count one sample; what is wrong beyond single values, in one line."""
        calls = self.new.calls(sample.row)
        for ours, theirs in zip(sample.calls, calls, strict=True):
            if list(ours.results) != list(theirs.results):
                names = ", ".join(theirs.results), ", ".join(ours.results)
                return f"outputs {names[0]} against {names[1]} in the original, in {where}"
        unlike = other_state(self.original, self.new, sample.calls)
        if unlike:
            return f"{unlike!r} does not begin with the values that it has in the original"
        try:
            pairs = list(side_by_side(self.original, sample.calls, self.new, calls))
        except KeyError as error:
            return f"{error} changes in one of the programs, and the other has none, in {where}"
        for name, expected, got in pairs:
            tally = self._outputs.setdefault(name, Tally(name, self.options))
            found = differences(expected, got)
            noise = None
            if any(noise_matters(entry, self.options) for entry in found):
                noise = sample.noise(name, expected)
                while differ([found], self.options, [noise]) and sample.round_again():
                    noise = sample.noise(name, expected)
            tally.see(expected)
            doubt = ""
            if noise is not None and is_open(found, self.options, noise):
                limits = limits_of(found[0].dtype, noise.grain)
                returned = list(sample.calls[0].results)
                doubt = self._truth.doubt(name, returned, sample.row[0], (expected, got), limits)
                if not doubt:
                    tally.settle(found, noise)
                    continue
            tally.add(found, noise, where, doubt)
        return ""

    @cached_property
    def _truth(self) -> "Truth":
        from bnfold.verifier.programs.truth import Truth

        return Truth(self.original, self.new)

    def _put_together(self, samples: int, left_out: Sequence[str]) -> TorchVerification:
        outputs = tuple(tally.result() for tally in self._outputs.values())
        sites, unread = self._prove()
        wrong = [f"{_called(entry.name)}: {entry.problem}" for entry in outputs if not entry.passed]
        wrong += [f"tensor {entry.name!r}: {entry.problem}" for entry in sites if not entry.passed]
        problem = wrong[0] + (f" (and {len(wrong) - 1} more)" if len(wrong) > 1 else "") if wrong else ""
        problem = problem if samples else "the original refused every sample"
        undecided = {tally.name for tally in self._outputs.values() if tally.is_undecided}
        known = any(not site.passed for site in sites) or any(
            not entry.passed and entry.name not in undecided for entry in outputs
        )
        varies = any(tally.varies for tally in self._outputs.values())
        weak = [] if varies else ["weak evidence: no output of the original ever varied"]
        return TorchVerification(
            status="failed" if known else "unchecked" if problem else "passed",
            samples=samples,
            seed=self.options.seed,
            outputs=outputs,
            tensors=sites,
            problem=problem,
            warnings=(*left_out, *unread, *filter(None, (tally.warning for tally in self._outputs.values())), *weak),
        )

    def _prove(self) -> tuple[tuple[TensorCheck, ...], tuple[str, ...]]:
        """What was found where the programs differ, part by part; and why some of it could not be looked at."""
        from bnfold.verifier.programs.parts.graph import Unreadable
        from bnfold.verifier.programs.parts.prove import Prover

        if self.options.rtol is not None or self.options.atol is not None:
            return (), ()
        try:
            ours, theirs = self.original.graph(), self.new.graph()
            seen = self.original.seen(ours, draw_leaves(self.feed, self.options, sample=0))
            found = Prover(ours, theirs, seen, self.options.seed).run()
        except (Unreadable, UncheckedError) as error:
            return (), (f"no part was run alone: {error}",)
        return found.checks, tuple(f"not run alone: {reason}" for reason in found.unread)


def _called(name: str) -> str:
    """How messages call an output, or what a call wrote to."""
    return f"output {name!r}" if name.startswith("output") else repr(name)


class _Sample:
    """What the original makes of one sample: of one call, or of several in a row."""

    def __init__(self, original: TorchProgram, row: Row) -> None:
        self.row = row
        self.calls = original.calls(row)
        self._original = original
        self._rounded_again = 0

    @property
    def is_stateful(self) -> bool:
        """Whether a call changes what the next one begins with."""
        return any(name.startswith("state ") for call in self.calls for name in call.changed)

    @cached_property
    def grain(self) -> "np.dtype[Any]":
        """The coarsest type that it computes in."""
        return grain_of(self._original, self.row)

    @cached_property
    def _otherwise(self) -> list[Rounding]:
        return list(other_roundings(self._original, self.row))

    def round_again(self) -> bool:
        """Find one more rounding, by moving the weights; whether there are any left to try."""
        if self._rounded_again == MOST_ROUNDINGS:
            return False
        self._otherwise += rounding_of_weights(self._original, self.row, self._rounded_again)
        self._rounded_again += 1
        return True

    def noise(self, name: str, value: object) -> NoiseLevel:
        """Of a result, as far as it is known."""
        return level(name, value, self._otherwise, self.grain)


def _why_not_onnx(original: TorchProgram, leaves: Sequence[Any]) -> str:
    """What a program does that its ONNX export does not do, or does in another order; "" if nothing."""
    if sum(tensor.numel() * tensor.element_size() for tensor in original.weights) > message.LARGEST_MESSAGE:
        return "its weights take more than the 2 GiB of one ONNX model"
    call, other = (original.calls([leaves], seed)[0] for seed in (0, 1))
    if call.changed:
        return f"the program writes to {next(iter(call.changed))!r}, and its ONNX export does not"
    drawn = (name for name, value in call.results.items() if not same_values(value, other.results.get(name)))
    name = next(drawn, None)
    return "" if name is None else f"{name!r} depends on random numbers of the program's own"


def _with_onnx(
    verdict: TorchVerification,
    models: tuple[object, object],
    arguments: Sequence[Any],
    leaves: Sequence[Any],
    feed: TorchFeed,
    options: VerifyOptions,
) -> TorchVerification:
    """The same verdict, confirmed or refuted by onnxruntime where torch can export both programs."""
    names = [port.name for port in feed.ports if port.is_tensor]
    try:
        ours, theirs = (export_onnx(model, names, arguments) for model in models)
        fed = {entry.name for entry in ours.graph.input}
        chosen = replace(options, shapes={}, dims={}, inputs=_inputs(feed, options, leaves, fed))
        second = check(ours.SerializeToString(), with_own_names(theirs).SerializeToString(), chosen)
    except UncheckedError as error:
        return replace(verdict, warnings=(*verdict.warnings, f"not compared under onnxruntime: {error}"))
    if second.status == "unchecked":
        return replace(verdict, warnings=(*verdict.warnings, f"not compared under onnxruntime: {second.problem}"))
    runtimes = (*verdict.runtimes, "onnxruntime")
    if second.passed:
        return replace(verdict, runtimes=runtimes)
    return replace(verdict, status="failed", runtimes=runtimes, problem=f"under onnxruntime: {second.problem}")


def _inputs(feed: TorchFeed, options: VerifyOptions, leaves: Sequence[Any], fed: set[str]) -> dict[str, Array]:
    """The caller's values, and those of integers, whose range only the program knows."""
    return {
        port.name: to_array(_in_pairs(leaf))
        for port, leaf in zip(feed.ports, leaves, strict=True)
        if port.is_tensor
        and port.name in fed
        and (port.name in options.inputs or not (leaf.is_floating_point() or leaf.is_complex()))
    }


def _in_pairs(leaf: Any) -> Any:  # noqa: ANN401 - a tensor
    """Complex numbers as an ONNX export has them: as pairs of real ones, along one more axis."""
    import torch

    return torch.view_as_real(leaf) if leaf.is_complex() else leaf
