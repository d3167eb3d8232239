"""Two models of one signature, run side by side on all samples."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cached_property

from bnfold.verifier.compare.arrays import differences
from bnfold.verifier.compare.channels import Array
from bnfold.verifier.compare.intermediate import Sample, SiteRecord, Survey
from bnfold.verifier.compare.noise import Noise, NoiseLevel
from bnfold.verifier.compare.statistics import Tally
from bnfold.verifier.compare.tolerance import differ, noise_matters, own_tolerance
from bnfold.verifier.local.closeups.inspect import inspect
from bnfold.verifier.local.probes import Probes
from bnfold.verifier.models.changed import Site, made_inside
from bnfold.verifier.models.graph import Structure
from bnfold.verifier.options import VerifyOptions
from bnfold.verifier.result import OutputCheck, TensorCheck, Verification
from bnfold.verifier.run.complaints import RefusedError
from bnfold.verifier.run.deployment import Baseline, Deployed, check_deployment, deploy
from bnfold.verifier.run.feeding import Feeding
from bnfold.verifier.run.inputs import distinct_samples, draw, name_of_draw
from bnfold.verifier.run.pair import NewModelRefuses, Pair, arrays
from bnfold.verifier.run.parallel import ahead, begun
from bnfold.verifier.run.session import Feeds, Observation
from bnfold.verifier.run.taming import Tamer

Progress = Callable[[str], None]


def failed(options: VerifyOptions, problem: str) -> Verification:
    """A check that ended before anything was measured."""
    return Verification(status="failed", samples=0, seed=options.seed, problem=problem)


class Trial:
    """Two models of one signature, and a way to feed them."""

    def __init__(
        self, original: Structure, new: Structure, feeding: Feeding, options: VerifyOptions, progress: Progress
    ) -> None:
        self._original, self._new, self._ways = original, new, feeding.settings
        self._feeds, self._expected = feeding.feeds, feeding.observation.outputs
        self._first_observation: Observation | None = feeding.observation
        self._options, self._progress = options, progress
        self._left_out: dict[str, None] = {}

    def run(self, pair: Pair, others: Sequence[Sequence[Site]]) -> Verification:
        """Compare group by group, and in each sample by sample.

        What the original refuses is left out; what only the new model refuses fails.

        Args:
            pair: both models at the first group of sites.
            others: the other groups.
        """
        self._inputs = pair.original.signature.inputs
        self._tallies = [Tally(port.name, self._options) for port in pair.original.signature.outputs]
        self._noise = Noise(self._original.model, pair.original)
        self._tamer = Tamer(self._inputs, self._options.inputs)
        self._tame_first(pair)
        with begun(lambda: deploy(self._new.model, self._feeds, self._options.provider)) as deployed:
            try:
                records = self._run_groups(pair, others)
            except NewModelRefuses as refusal:
                return failed(self._options, str(refusal))
            verification = self._put_together([record.result() for record in records])
            return self._with_deployment(verification, deployed()) if verification.passed else verification

    def _tame_first(self, pair: Pair) -> None:
        """Where the original overflows on the first sample, take a smaller one: all later steps begin with it."""
        assert self._first_observation is not None
        found = self._tamer.tame(
            self._feeds, self._first_observation, lambda feeds: pair.original.observe(feeds, pair.original.exposed)
        )
        if found:
            exponent, self._feeds, self._first_observation = found
            self._expected = self._first_observation.outputs
            self._samples[0] = (_divided(self._samples[0][0], exponent), self._feeds)

    def _run_groups(self, pair: Pair, others: Sequence[Sequence[Site]]) -> list[SiteRecord]:
        self._progress(f"comparing, part 1 of {len(others) + 1}" if others else "comparing")
        records = self._run_group(pair, first=True)
        for number, sites in enumerate(others, start=2):
            self._progress(f"comparing, part {number} of {len(others) + 1}")
            records += self._run_group(Pair(self._original, self._new, sites), first=False)
        return records

    @cached_property
    def _samples(self) -> list[tuple[str, Feeds]]:
        count = distinct_samples(self._inputs, self._options)
        return [
            (
                name_of_draw(self._inputs, self._options, sample),
                draw(self._inputs, self._ways[sample % len(self._ways)], self._options, sample),
            )
            for sample in range(count)
        ]

    def _run_group(self, pair: Pair, *, first: bool) -> list[SiteRecord]:
        records = [SiteRecord(site, made_inside(site, self._original)) for site in pair.sites]
        survey = Survey(records, self._noise, own_tolerance(self._options))
        for sample in ahead(self._observe(pair)):
            if sample.number == 0:
                self._judge_parts(records, _boundary(pair.sites, arrays(sample.feeds, sample.original)))
            if first:
                self._compare_outputs(sample, is_wrong=any(record.problem for record in records))
            survey.see(sample)
            if sample.number == 0:
                survey.measure_noise(sample)
        return records

    def _observe(self, pair: Pair) -> Iterator[Sample]:
        """Run both models on every sample that the original takes."""
        for number, (where, feeds) in enumerate(self._samples):
            try:
                yield self._observe_sample(pair, number, where, feeds)
            except RefusedError as error:
                self._left_out[f"{where} left out: {error}"] = None

    def _observe_sample(self, pair: Pair, number: int, where: str, feeds: Feeds) -> Sample:
        """Run both models on a sample; where the original overflows on it, on a smaller one."""
        sample = pair.observe(number, where, feeds, self._noise, self._take_first_observation())
        found = self._tamer.tame(feeds, sample.original, lambda others: pair.original.observe(others, pair.tensors))
        if number == 0 or found is None:
            return sample
        exponent, others, seen = found
        self._samples[number] = (_divided(where, exponent), others)
        return pair.observe(number, self._samples[number][0], others, self._noise, seen)

    def _take_first_observation(self) -> Observation | None:
        """What the original made of the first sample at the first sites, once: it takes memory."""
        known, self._first_observation = self._first_observation, None
        return known

    @property
    def _probes(self) -> bool:
        return self._options.probe and own_tolerance(self._options) is None

    def _judge_parts(self, records: Sequence[SiteRecord], seen: Mapping[str, Array]) -> None:
        """Cut the parts out and compare them, and what is inside of them, on values of our own choice.

        A tolerance of the caller's speaks of values that occur, not of these.
        """
        if not self._probes:
            return
        places = {record.site.tensor: record for record in records}
        sites = [record.site for record in records]
        chosen = Probes(self._options.seed, self._options.inputs)
        for finding in inspect(self._original, self._new, sites, seen, chosen):
            places[finding.tensor].see_local(finding)

    def _compare_outputs(self, sample: Sample, *, is_wrong: bool) -> None:
        """Compare the outputs; where something inside is known to be wrong, without the benefit of the doubt."""
        expected, got = sample.original.outputs, sample.new.outputs
        found = [differences(a, b) for a, b in zip(expected, got, strict=True)]
        noise: Sequence[NoiseLevel | None] = [None] * len(found)
        if any(noise_matters(difference, self._options) for output in found for difference in output):
            noise = self._noise.measure(
                sample.feeds,
                expected,
                lambda levels: not is_wrong and differ(found, self._options, levels),
                sample.moved,
            )
        elif sample.number == 0:
            noise = self._noise.of_moved(expected, sample.moved_once)
        for tally, values, output, level in zip(self._tallies, expected, found, noise, strict=True):
            tally.see(values)
            tally.add(output, level, sample.where)

    def _put_together(self, tensors: Sequence[TensorCheck]) -> Verification:
        samples = len(self._samples) - len(self._left_out)
        whole = sum(tensor.passed and math.isnan(tensor.excess) for tensor in tensors) if self._probes else 0
        alone = [f"{whole} of {len(tensors)} changed tensors were compared on the samples only"] if whole else []
        outputs = tuple(tally.result() for tally in self._tallies)
        varies = any(tally.varies for tally in self._tallies)
        weak = [] if varies else ["weak evidence: no output of the original ever varied"]
        wrong = [output for output in outputs if not output.passed]
        undecided = {tally.name for tally in self._tallies if tally.is_undecided}
        wrong.sort(key=lambda output: output.name in undecided)  # what is known first
        problem = _summary(wrong, tensors) if samples else "the original refused every sample"
        differs = any(not tensor.passed for tensor in tensors) or any(output.name not in undecided for output in wrong)
        return Verification(
            status="failed" if differs else "unchecked" if problem else "passed",
            samples=samples,
            seed=self._options.seed,
            outputs=outputs,
            tensors=tuple(tensors),
            problem=problem,
            warnings=(*self._left_out, *filter(None, (tally.warning for tally in self._tallies)), *alone, *weak),
        )

    def _with_deployment(self, verification: Verification, deployed: Deployed) -> Verification:
        baseline = Baseline(self._original.model, self._feeds, self._expected)
        found = check_deployment(deployed, self._new.model, baseline, self._options)
        if found.passed:
            return replace(verification, deployment=found)
        problem = f"at onnxruntime's default settings ({found.provider}): {found.problem}"
        return replace(verification, status="failed", deployment=found, problem=problem)


def _divided(where: str, exponent: int) -> str:
    return f"{where}, divided by 2^{exponent}"


def _boundary(sites: Sequence[Site], arrays: Mapping[str, Array]) -> dict[str, Array]:
    """Only what the parts begin with."""
    names = dict.fromkeys(name for site in sites for name in site.boundary if name in arrays)
    return {name: arrays[name] for name in names}


def _summary(wrong: Sequence[OutputCheck], tensors: Sequence[TensorCheck]) -> str:
    """The first place where the models part, or the first output that differs."""
    parted = [tensor for tensor in tensors if not tensor.passed]
    if parted:
        others = f" (and {len(parted) - 1} more tensors)" if len(parted) > 1 else ""
        return f"tensor {parted[0].name!r}: {parted[0].problem}{others}"
    if not wrong:
        return ""
    others = f" (and {len(wrong) - 1} more outputs)" if len(wrong) > 1 else ""
    return f"output {wrong[0].name!r}: {wrong[0].problem}{others}"
