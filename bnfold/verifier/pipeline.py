"""Whether two models compute the same, by running both: as a whole, and at every place where they part.

The steps stand in the order in which they are done: load, signature, changed tensors, inputs, run, compare, by
themselves, deploy.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import chain, islice

import numpy as np

from bnfold.errors import InvalidOriginalError, UncheckedError
from bnfold.intake.text import readable_text
from bnfold.keywords import keyword
from bnfold.verification import Verification, VerifyOptions
from bnfold.verifier.compare.arrays import differences
from bnfold.verifier.compare.arrays import tensors as tensors_in
from bnfold.verifier.compare.intermediate import Doubt, TensorRecord, compare_tensor, is_noise, noise_at
from bnfold.verifier.compare.noise import NoiseLevel, Perturbed, noise_of
from bnfold.verifier.compare.statistics import OutputStatistics
from bnfold.verifier.compare.tolerance import differ, noise_matters, own_tolerance
from bnfold.verifier.local.check import check_alone, check_on_sample
from bnfold.verifier.local.probes import Probes
from bnfold.verifier.local.renamed import Unlike, find_held
from bnfold.verifier.local.whole import as_noise_of, in_float64
from bnfold.verifier.models.aligned import with_names_of_original
from bnfold.verifier.models.changed import ChangedTensor, find_changed_tensors, made_inside
from bnfold.verifier.models.depth import is_deep
from bnfold.verifier.models.graph import Structure
from bnfold.verifier.models.load import Model, ModelSource
from bnfold.verifier.models.refused import RefusedError
from bnfold.verifier.models.signature import signature_difference
from bnfold.verifier.progress import Count, Progress
from bnfold.verifier.run.batches import batches
from bnfold.verifier.run.comparison_run import (
    ComparisonRun,
    NewModelRefuses,
    Pair,
    Sample,
    around,
    boundary_values,
    open_original,
)
from bnfold.verifier.run.complaints import of_original, out_of_memory
from bnfold.verifier.run.deployment import Baseline, Deployed, check_deployment, deploy
from bnfold.verifier.run.feeding import Feeding, choose_feeding
from bnfold.verifier.run.memory import Demand
from bnfold.verifier.run.parallel import ahead, begun, one_thread_of_blas
from bnfold.verifier.run.partly import compare_what_runs
from bnfold.verifier.run.runner import OnnxRunner, as_perturbed, measure
from bnfold.verifier.run.session import require_libraries, require_provider
from bnfold.verifier.run.settings import Settings, Shape
from bnfold.verifier.run.wanted import Wanted, wanted_by
from bnfold.verifier.verdict import failed, put_together

_ROUNDS = 6
"""In which tensors of other names are looked for; where there are still wrong ones among them, none is looked for."""
_MOST_MEANWHILE = 2**26
"""Bytes of outputs that wait for their comparison while changed tensors are compared by themselves."""


@readable_text(InvalidOriginalError)
@np.errstate(all="ignore")  # what overflows in a model is compared, and is no news
def check(
    reference: ModelSource,
    candidate: ModelSource,
    options: VerifyOptions | None = None,
    progress: Progress = lambda _: None,
) -> Verification:
    """Run both models on the same inputs, as they are written, and compare every output and every changed tensor.

    Args:
        reference: the original, as a path or as a serialised ModelProto.
        candidate: the new model, likewise.
        options: inputs and tolerances; None for the defaults.
        progress: told what is being done.

    Returns:
        A verification that passed, or that failed and says where. A candidate that does not load or run has failed.

    Raises:
        InvalidOriginalError: the reference is no valid model.
        UncheckedError: the reference does not load or run, so that nothing can be compared with it; memory ran out.
        UsageError: the options name an input or dimension that the reference does not have, or contradict it, or a
            provider that onnxruntime does not have, or a library that it cannot load.
    """
    try:
        with one_thread_of_blas():
            return _check(reference, candidate, options or VerifyOptions(), progress)
    except MemoryError as error:
        raise out_of_memory("compare the models") from error
    except RefusedError as error:
        raise UncheckedError(str(error)) from error


def _check(reference: ModelSource, candidate: ModelSource, options: VerifyOptions, progress: Progress) -> Verification:
    require_provider(options.provider)
    require_libraries(options.custom_ops)
    try:
        ours = _ready(Structure(Model.read("the original", reference, options.custom_ops)), options)
    except RefusedError as error:
        raise of_original(error) from error
    unlike: frozenset[str] = frozenset()
    for _ in range(_ROUNDS if _compares_alone(options) else 0):
        try:
            return _check_against(ours, candidate, options, progress, unlike)
        except Unlike as news:
            unlike |= news.names
    return _check_against(ours, candidate, options, progress, None)


def _check_against(
    ours: Structure,
    candidate: ModelSource,
    options: VerifyOptions,
    progress: Progress,
    unlike: Collection[str] | None,
) -> Verification:
    """Compare two models, of which the original is open.

    Args:
        ours: the original.
        candidate: the new model.
        options: of the check.
        progress: told what is being done.
        unlike: names that no tensor of other name gets in the new model; None where none does.

    Raises:
        Unlike: some should not have got theirs.
    """
    try:
        new = Model.read("the new model", candidate, options.custom_ops)
        theirs = _ready(Structure(new) if unlike is None else with_names_of_original(new, ours, unlike), options)
        progress("comparing the graphs")
        tensors = _changed_tensors(ours, theirs)
    except RefusedError as error:
        open_original(ours)  # it may be the original that is broken
        return failed(options, str(error))

    def compare(a: Structure, b: Structure) -> Verification:
        return _compare(a, b, tensors if a is ours else _changed_tensors(a, b), options, progress)

    verdict = compare_what_runs(ours, theirs, tensors, compare)
    others = _other_tensors(tensors, verdict) - {entry.name for entry in ours.model.proto.graph.output}
    if not others:
        return verdict
    if options.same_names:
        return _with_hint(verdict)
    verdict = _compare(ours, theirs, _changed_tensors(ours, theirs, others), options, progress)
    names = ", ".join(sorted(others)[:3])
    return replace(verdict, warnings=(*verdict.warnings, f"names of other tensors in the new model: {names}"))


def _ready(graph: Structure, options: VerifyOptions) -> Structure:
    Demand(graph, options.memory).require_a_session()
    return graph


def _compares_alone(options: VerifyOptions) -> bool:
    """A tolerance of the caller's speaks of values that occur, not of those that the verifier chooses."""
    return options.probe and own_tolerance(options) is None


def _changed_tensors(ours: Structure, theirs: Structure, reused: Collection[str] = ()) -> list[ChangedTensor]:
    """Where the models part, but for outputs that whole networks lie before: these are compared as outputs."""
    outputs = {entry.name for entry in ours.model.proto.graph.output}
    tensors = find_changed_tensors(ours, theirs, reused)
    return [changed for changed in tensors if changed.name not in outputs or not is_deep(changed, ours, theirs)]


def _other_tensors(tensors: Sequence[ChangedTensor], verdict: Verification) -> set[str]:
    """The tensors that are not what their names say, but for those that are made of such ones."""
    wrong = {tensor.name for tensor in verdict.tensors if not tensor.passed}
    others: set[str] = set()
    for changed in tensors:
        if changed.name in wrong and others.isdisjoint(changed.boundary):
            others.add(changed.name)
    return others


def _with_hint(verdict: Verification) -> Verification:
    """A verdict on models whose outputs agree, though tensors of one name do not."""
    if not verdict.outputs or not all(output.passed for output in verdict.outputs):
        return verdict
    way_out = f"compare with {keyword('VerifyOptions.same_names', False)}"
    hint = f"the outputs agree: if another tool gave this name to another tensor, {way_out}"
    return replace(verdict, warnings=(*verdict.warnings, hint))


def _compare(
    ours: Structure, theirs: Structure, tensors: Sequence[ChangedTensor], options: VerifyOptions, progress: Progress
) -> Verification:
    """All that is done with two models that load: signature, inputs, run, compare, by themselves, deploy."""
    try:
        pair = Pair.open(ours, theirs, tensors)
        problem = signature_difference(pair.original.signature, pair.new.signature)
        if problem:
            return failed(options, problem)
        wanted = wanted_by(ours)
        likely = next(Settings(pair.original.signature.inputs, options, wanted).natural())
        groups = batches(pair.tensors, ours, likely.shapes, options.memory)
        if len(groups) > 1:  # too much to be seen at once
            pair = Pair.open(ours, theirs, groups[0])
        run = ComparisonRun(pair.original, _feeding(pair, wanted, (ours, theirs), options), options)
        statistics = [OutputStatistics(port.name, options) for port in pair.original.signature.outputs]
        count = Count(progress, run.total, len(tensors))
        state = _State(ours, theirs, options, run, statistics, count)
        with begun(lambda: deploy(theirs.model, run.feeds, options.provider)) as deployed:
            for number, group in enumerate(groups, start=1):
                pair = pair if number == 1 else Pair.open(ours, theirs, group)
                _compare_group(state, pair, compares_outputs=number == 1)
            verdict = state.verdict()
            return _with_deployment(verdict, deployed(), state, pair.original) if verdict.passed else verdict
    except NewModelRefuses as refusal:
        return failed(options, str(refusal))


@dataclass
class _State:
    """What a check knows so far."""

    ours: Structure
    theirs: Structure
    options: VerifyOptions
    run: ComparisonRun
    outputs: list[OutputStatistics]
    count: Count
    tensors: list[TensorRecord] = field(default_factory=list)

    @property
    def probes(self) -> Probes:
        """How values of the verifier's own choice are drawn."""
        return Probes(self.options.seed, self.options.inputs)

    @property
    def differs(self) -> bool:
        """Whether some output does."""
        return any(statistics.differs for statistics in self.outputs)

    def verdict(self) -> Verification:
        """On all that was compared."""
        checks = [record.result() for record in self.tensors]
        return put_together(self.run, self.outputs, checks, self.options, compared_alone=_compares_alone(self.options))


def _feeding(pair: Pair, wanted: Wanted, graphs: Sequence[Structure], options: VerifyOptions) -> Feeding:
    demands = [Demand(graph, options.memory) for graph in graphs]

    def require_room(shapes: Mapping[str, Shape]) -> None:
        for demand in demands:
            demand.require_a_run(shapes)

    return choose_feeding(pair.original, options, wanted, require_room)


def _compare_group(state: _State, pair: Pair, *, compares_outputs: bool) -> None:
    """Compare one group of changed tensors by themselves, then what both models make of the samples."""
    records = [TensorRecord(changed, made_inside(changed, state.ours, state.theirs)) for changed in pair.tensors]
    state.tensors += records
    first = state.run.first(pair)
    _find_held(state, pair, first)
    seen = [] if _compares_alone(state.options) else records
    others = state.run.others(pair, around([record.changed for record in seen], state.ours))
    with begun(lambda: _run_meanwhile(first, others if compares_outputs else iter(()))) as meanwhile:
        if first is not None and _compares_alone(state.options):
            _compare_alone(state, records, first)
        samples = meanwhile()
    if first is not None:
        _compare_sample(state, records, first, compares_outputs=compares_outputs)
        for record in records:
            name = record.changed.name
            record.noise = noise_at(first.original.tensors[name], first.moved_tensor(name, once=True), record.channel)
    for sample in chain(samples, ahead(others)) if compares_outputs or seen else ():
        _compare_sample(state, seen, sample, compares_outputs=compares_outputs)
    open_records = [record for record in records if record.is_open and not seen]
    open_tensors = around([record.changed for record in open_records], state.ours)
    for sample in ahead(state.run.others(pair, open_tensors)) if open_records else ():
        _compare_sample(state, open_records, sample, compares_outputs=False)
    if state.differs and not any(record.problem for record in records):
        _look_for_the_cause(state, pair, records)


def _find_held(state: _State, pair: Pair, first: Sample | None) -> None:
    """Find out what those changed tensors hold that have other names in the new model."""
    if not state.theirs.held.keys().isdisjoint(changed.name for changed in pair.tensors):
        seen = {} if first is None else boundary_values(pair.tensors, first.arrays)
        find_held(state.ours, state.theirs, pair.tensors, seen, state.probes)


def _run_meanwhile(first: Sample | None, others: Iterator[Sample]) -> list[Sample]:
    """What the first sample needs in any case, and the next samples, as long as what they make is small."""
    if first is None:
        return []
    first.moved_once  # noqa: B018 - run, and kept
    each = sum(array.nbytes for value in first.original.outputs for array in tensors_in(value))
    return list(islice(others, _MOST_MEANWHILE // (2 * each + 1)))


def _look_for_the_cause(state: _State, pair: Pair, records: Sequence[TensorRecord]) -> None:
    """Where outputs differ, and no changed tensor is known to be wrong: compare them all on the other samples."""
    for sample in ahead(state.run.others(pair, pair.original.exposed)):
        _compare_sample(state, records, sample, compares_outputs=False)
        if any(record.problem for record in records):
            return


def _compare_alone(state: _State, records: Sequence[TensorRecord], first: Sample) -> None:
    """Compare the subgraphs of changed tensors on values of the verifier's own choice."""
    by_name = {record.changed.name: record for record in records}
    tensors = [record.changed for record in records]
    seen = boundary_values(tensors, first.arrays)
    for finding in check_alone(state.ours, state.theirs, state.count.of_changes(tensors), seen, state.probes):
        by_name[finding.tensor].see_local(finding)


def _compare_sample(state: _State, records: Sequence[TensorRecord], sample: Sample, *, compares_outputs: bool) -> None:
    if compares_outputs:
        _compare_outputs(state, sample, is_wrong=any(record.problem for record in state.tensors))
        state.count.input_done()
    tolerance = own_tolerance(state.options)
    doubts = [
        doubt
        for record in records
        for doubt in compare_tensor(
            record,
            sample.original.tensors[record.changed.name],
            sample.new_tensor(record.changed.name),
            sample.runner.precision,
            tolerance,
        )
    ]
    if tolerance is not None:
        _fail(doubts, sample)
    elif not any(record.problem for record in records):  # behind what is wrong, everything differs
        _fail((doubt for doubt in doubts if not _is_rounding(doubt, sample, state)), sample)


def _is_rounding(doubt: Doubt, sample: Sample, state: _State) -> bool:
    """Whether a doubtful tensor is equal all the same: by itself, on this sample's values, or within the noise."""
    name = doubt.record.changed.name
    if doubt.extent is not None:
        finding = check_on_sample(state.ours, state.theirs, doubt.record.changed, sample.arrays, f"in {sample.where}")
        if finding is not None:
            if finding.what:
                doubt.record.see_local(finding)
            return True
    return is_noise(doubt, sample.original.tensors[name], sample.moved_tensor(name))


def _fail(doubts: Iterable[Doubt], sample: Sample) -> None:
    for doubt in doubts:
        doubt.record.fail(f"{doubt.what} in {sample.where}", doubt.channel)


def _compare_outputs(state: _State, sample: Sample, *, is_wrong: bool) -> None:
    """Compare the outputs; where something inside is known to be wrong, without the benefit of the doubt."""
    options, expected = state.options, sample.original.outputs
    found = [differences(a, b) for a, b in zip(expected, sample.new.outputs, strict=True)]
    noise: Sequence[NoiseLevel | None] = [None] * len(found)
    if any(noise_matters(difference, options) for output in found for difference in output):
        noise = measure(
            sample.runner,
            sample.feeds,
            expected,
            as_perturbed(sample.moved),
            _in_float64(state, sample.feeds, expected, sample.new.outputs),
            lambda levels: not is_wrong and differ(found, options, levels),
        )
    elif sample.number == 0:
        noise = noise_of(expected, as_perturbed(sample.moved_once), sample.runner.precision)
    for statistics, values, output, level in zip(state.outputs, expected, found, noise, strict=True):
        statistics.see(values)
        statistics.add(output, level, sample.where)


def _in_float64(
    state: _State, feeds: Mapping[str, object], expected: Sequence[object], made: Sequence[object]
) -> Iterator[Perturbed]:
    """How far either model is from itself in float64, as further noise of the original's outputs."""
    memory = state.options.memory
    yield from in_float64(state.ours, feeds, expected, memory)
    yield from as_noise_of(expected, made, in_float64(state.theirs, feeds, made, memory))


def _with_deployment(verdict: Verification, deployed: Deployed, state: _State, runner: OnnxRunner) -> Verification:
    feeds, expected = state.run.feeds, state.run.expected
    further = partial(_in_float64, state, feeds, expected, deployed.outputs)
    baseline = Baseline(runner, feeds, expected, further)
    found = check_deployment(deployed, state.theirs.model, baseline, state.options)
    if found.passed:
        return replace(verdict, deployment=found)
    problem = f"at onnxruntime's default settings ({found.provider}): {found.problem}"
    return replace(verdict, status="failed", deployment=found, problem=problem)
