"""Whether two programs of torch compute the same, by running both in torch, and as ONNX models under onnxruntime."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np

from bnfold.errors import VerificationError
from bnfold.judge.compare import differences
from bnfold.judge.judge import check
from bnfold.judge.noise import MOST_ROUNDINGS, NoiseLevel
from bnfold.judge.options import VerifyOptions
from bnfold.judge.programs.inputs import TorchFeed, choose_feed, count_samples, draw_arguments, name_of_sample
from bnfold.judge.programs.noise import Rounding, grain_of, level, other_roundings, rounding_of_weights
from bnfold.judge.programs.onnx import export_onnx, with_own_names
from bnfold.judge.programs.program import Observe, TorchProgram, open_program
from bnfold.judge.programs.result import TorchVerification
from bnfold.judge.programs.sites import Moved, SiteTally, needs_noise
from bnfold.judge.programs.tensors import Array, to_array
from bnfold.judge.tally import Tally
from bnfold.judge.tolerance import differ, noise_matters


def check_torch(
    reference: object,
    candidate: object,
    options: VerifyOptions | None = None,
    observers: tuple[Observe, Observe] | None = None,
) -> TorchVerification:
    """Run both programs on the same inputs, and compare every output and every tensor inside that both show.

    Args:
        reference: the original, a ScriptModule or an ExportedProgram.
        candidate: the new program, of the same kind.
        options: inputs and tolerances; None for the defaults.
        observers: of ScriptModules, how to look inside of either; what they return must be what the programs return.

    Returns:
        A verification that passed, or that failed and says where. It was made under onnxruntime as well where torch
        can export both programs; `runtimes` and `warnings` say whether.

    Raises:
        UsageError: nothing says the shape of an input, or the options contradict the program.
        VerificationError: the reference does not run, so that nothing can be compared with it.
    """
    options = options or VerifyOptions()
    ours, theirs = observers or (None, None)
    original = open_program("the original", reference, ours)
    new = open_program("the new program", candidate, theirs)
    problem = _signature_difference(original, new)
    if problem:
        return _failed(options, problem)
    feed = choose_feed(original, options)
    verdict = _Trial(original, new, feed, options).run()
    return _with_onnx(verdict, reference, candidate, feed, options) if verdict.passed else verdict


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
    _sites: dict[str, SiteTally] = field(default_factory=dict)

    def run(self) -> TorchVerification:
        """Compare sample by sample. What the original refuses is left out; what only the new program refuses fails."""
        left_out: list[str] = []
        count = count_samples(self.feed, self.options)
        for number in range(count):
            where = name_of_sample(self.feed, self.options, number)
            arguments = draw_arguments(self.feed, self.options, number)
            try:
                sample = _Sample(self.original, arguments)
            except VerificationError as error:
                left_out.append(f"{where} left out: {error}")
                continue
            try:
                problem = self._compare(sample, where)
            except VerificationError as error:
                problem = f"{error} (in {where})"
            if problem:
                return _failed(self.options, problem)
        return self._put_together(count - len(left_out), left_out)

    def _compare(self, sample: "_Sample", where: str) -> str:
        """Count one sample; what is wrong beyond single values, in one line."""
        got = self.new.run(sample.arguments)
        if list(got) != list(sample.results):
            return f"outputs {', '.join(got)} against {', '.join(sample.results)} in the original, in {where}"
        for name, expected in sample.results.items():
            tally = self._outputs.setdefault(name, Tally(name, self.options))
            found = differences(expected, got[name])
            noise = None
            if any(noise_matters(entry, self.options) for entry in found):
                noise = sample.noise(name)
                while differ([found], self.options, [noise]) and sample.round_again():
                    noise = sample.noise(name)
            tally.see(expected)
            tally.add(found, noise, where)
        return self._compare_inside(sample, got, where)

    def _compare_inside(self, sample: "_Sample", got: Mapping[str, object], where: str) -> str:
        observed, inside = self.new.observe(sample.arguments)
        for role, plain, seen in (
            ("the original", sample.results, sample.observed),
            ("the new program", got, observed),
        ):
            unlike = next((name for name in plain if not _alike(plain[name], seen.get(name))), None)
            if unlike is not None:
                return (
                    f"{role} gives another {unlike} while it is looked into, in {where}: bnfold looked at the wrong one"
                )
        for name, expected in sample.inside.items():
            if name not in inside:
                continue
            tally = self._sites.setdefault(name, SiteTally(name, self.options))
            pair: tuple[Array, Array] = (expected, inside[name])
            others: list[Moved] = []
            if needs_noise(*pair):
                others = sample.inside_otherwise(name)
                while tally.condemns(*pair, others, sample.grain) and sample.round_again():
                    others = sample.inside_otherwise(name)
            tally.add(*pair, others, sample.grain, where)
        return ""

    def _put_together(self, samples: int, left_out: Sequence[str]) -> TorchVerification:
        outputs = tuple(tally.result() for tally in self._outputs.values())
        sites = tuple(tally.result() for tally in self._sites.values())
        wrong = [f"output {entry.name!r}: {entry.problem}" for entry in outputs if not entry.passed]
        wrong += [f"tensor {entry.name!r}: {entry.problem}" for entry in sites if not entry.passed]
        problem = wrong[0] + (f" (and {len(wrong) - 1} more)" if len(wrong) > 1 else "") if wrong else ""
        problem = problem if samples else "the original refused every sample"
        varies = any(tally.varies for tally in self._outputs.values())
        weak = [] if varies else ["weak evidence: no output of the original ever varied"]
        return TorchVerification(
            status="failed" if problem else "passed",
            samples=samples,
            seed=self.options.seed,
            outputs=outputs,
            tensors=sites,
            problem=problem,
            warnings=(*left_out, *filter(None, (tally.warning for tally in self._outputs.values())), *weak),
        )


class _Sample:
    """What the original makes of one sample."""

    def __init__(self, original: TorchProgram, arguments: Sequence[Any]) -> None:
        self.arguments = arguments
        self.results = original.run(arguments)
        self.observed, self.inside = original.observe(arguments)
        self._original = original
        self._rounded_again = 0

    @cached_property
    def grain(self) -> "np.dtype[Any]":
        """The coarsest type that it computes in."""
        return grain_of(self._original, self.arguments)

    @cached_property
    def _otherwise(self) -> list[Rounding]:
        return list(other_roundings(self._original, self.arguments))

    def round_again(self) -> bool:
        """Find one more rounding, by moving the weights; whether there are any left to try."""
        if self._rounded_again == MOST_ROUNDINGS:
            return False
        self._otherwise += rounding_of_weights(self._original, self.arguments, self._rounded_again)
        self._rounded_again += 1
        return True

    def noise(self, name: str) -> NoiseLevel:
        """Of a result, as far as it is known."""
        return level(name, self.results[name], self._otherwise, self.grain)

    def inside_otherwise(self, name: str) -> list[Moved]:
        """A tensor inside, under other roundings, and by how many units of the last place something was moved there."""
        seen = [(other.seen.get(name), other.step) for other in self._otherwise]
        return [(value, step) for value, step in seen if isinstance(value, np.ndarray)]


def _alike(plain: object, seen: object) -> bool:
    """Whether two runs of one program gave the same, up to what its kernels do differently from run to run."""
    return all(not noise_matters(entry, VerifyOptions()) for entry in differences(plain, seen))


def _with_onnx(
    verdict: TorchVerification, reference: object, candidate: object, feed: TorchFeed, options: VerifyOptions
) -> TorchVerification:
    """The same verdict, confirmed or refuted by onnxruntime where torch can export both programs."""
    arguments = draw_arguments(feed, options, sample=0)
    names = [port.name for port in feed.ports if port.is_tensor]
    try:
        models = [export_onnx(model, names, arguments) for model in (reference, candidate)]
        fed = {entry.name for entry in models[0].graph.input}
        chosen = replace(options, shapes={}, dims={}, inputs=_inputs(feed, options, arguments, fed))
        second = check(models[0].SerializeToString(), with_own_names(models[1]).SerializeToString(), chosen)
    except VerificationError as error:
        return replace(verdict, warnings=(*verdict.warnings, f"not compared under onnxruntime: {error}"))
    runtimes = (*verdict.runtimes, "onnxruntime")
    if second.passed:
        return replace(verdict, runtimes=runtimes)
    return replace(verdict, status="failed", runtimes=runtimes, problem=f"under onnxruntime: {second.problem}")


def _inputs(feed: TorchFeed, options: VerifyOptions, arguments: Sequence[Any], fed: set[str]) -> dict[str, Array]:
    """The caller's values, and those of integers, whose range only the program knows."""
    return {
        port.name: to_array(argument)
        for port, argument in zip(feed.ports, arguments, strict=True)
        if port.is_tensor
        and port.name in fed
        and (port.name in options.inputs or argument.dtype.is_floating_point is False)
    }
