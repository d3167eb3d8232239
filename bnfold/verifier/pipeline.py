"""Whether two models compute the same, by running both: as a whole, and at every place where they part."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace

import numpy as np

from bnfold.errors import InvalidOriginalError, UncheckedError
from bnfold.intake.text import readable_text
from bnfold.verification import Verification, VerifyOptions
from bnfold.verifier.models.changed import Site, find_sites
from bnfold.verifier.models.depth import is_deep
from bnfold.verifier.models.graph import Structure
from bnfold.verifier.models.load import Model, ModelSource
from bnfold.verifier.models.partly import compare_what_runs
from bnfold.verifier.models.signature import signature_difference
from bnfold.verifier.run.batches import batches
from bnfold.verifier.run.comparison_run import Progress, Trial, failed
from bnfold.verifier.run.complaints import RefusedError, of_original, out_of_memory
from bnfold.verifier.run.feeding import choose_feeding
from bnfold.verifier.run.indices import index_bounds
from bnfold.verifier.run.memory import Demand
from bnfold.verifier.run.pair import NewModelRefuses, Pair, open_original
from bnfold.verifier.run.session import require_libraries, require_provider
from bnfold.verifier.run.shapes import Shape, settings
from bnfold.verifier.run.wanted_sizes import wanted_sizes


@readable_text(InvalidOriginalError)
@np.errstate(all="ignore")  # what overflows in a model is compared, and is no news
def check(
    reference: ModelSource,
    candidate: ModelSource,
    options: VerifyOptions | None = None,
    progress: Progress = lambda _: None,
) -> Verification:
    """Run both models on the same inputs, as they are written, and compare every output and every place of change.

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
        return _check(reference, candidate, options or VerifyOptions(), progress)
    except MemoryError as error:
        raise out_of_memory("compare the models") from error
    except RefusedError as error:
        raise UncheckedError(str(error)) from error


def _check(reference: ModelSource, candidate: ModelSource, options: VerifyOptions, progress: Progress) -> Verification:
    require_provider(options.provider)
    require_libraries(options.custom_ops)
    try:
        ours = Structure(Model.read("the original", reference, options.custom_ops))
        Demand(ours, options.memory).require_a_session()
    except RefusedError as error:
        raise of_original(error) from error
    try:
        theirs = Structure(Model.read("the new model", candidate, options.custom_ops))
        Demand(theirs, options.memory).require_a_session()
        progress("comparing the graphs")
        sites = _places(ours, theirs)
    except RefusedError as error:
        open_original(ours)  # it may be the original that is broken
        return failed(options, str(error))

    def compare(a: Structure, b: Structure) -> Verification:
        return _compare(a, b, sites if a is ours else _places(a, b), options, progress)

    verdict = compare_what_runs(ours, theirs, sites, compare)
    others = _other_tensors(sites, verdict) - {entry.name for entry in ours.model.proto.graph.output}
    if not others:
        return verdict
    if options.same_names:
        return _with_hint(verdict)
    verdict = _compare(ours, theirs, _places(ours, theirs, others), options, progress)
    names = ", ".join(sorted(others)[:3])
    return replace(verdict, warnings=(*verdict.warnings, f"names of other tensors in the new model: {names}"))


def _places(ours: Structure, theirs: Structure, reused: Collection[str] = ()) -> list[Site]:
    """Where the models part, but for outputs that whole networks lie before: these are compared as outputs."""
    outputs = {entry.name for entry in ours.model.proto.graph.output}
    sites = find_sites(ours, theirs, reused)
    return [site for site in sites if site.tensor not in outputs or not is_deep(site, ours, theirs)]


def _other_tensors(sites: Sequence[Site], verdict: Verification) -> set[str]:
    """The tensors that are not what their names say, but for those that are made of such ones."""
    wrong = {tensor.name for tensor in verdict.tensors if not tensor.passed}
    others: set[str] = set()
    for site in sites:
        if site.tensor in wrong and others.isdisjoint(site.boundary):
            others.add(site.tensor)
    return others


def _with_hint(verdict: Verification) -> Verification:
    """A verdict on models whose outputs agree, though tensors of one name do not."""
    if not verdict.outputs or not all(output.passed for output in verdict.outputs):
        return verdict
    hint = "the outputs agree: if another tool gave this name to another tensor, compare with same_names=False"
    return replace(verdict, warnings=(*verdict.warnings, hint))


def _compare(
    ours: Structure, theirs: Structure, sites: Sequence[Site], options: VerifyOptions, progress: Progress
) -> Verification:
    try:
        pair = Pair(ours, theirs, sites)
        problem = signature_difference(pair.original.signature, pair.new.signature)
        if problem:
            return failed(options, problem)
        bounds = index_bounds(ours)
        wants = wanted_sizes(ours)
        likely = next(settings(pair.original.signature.inputs, options, bounds, wants))
        groups = batches(sites, ours, likely.shapes, options.memory)
        if len(groups) > 1:  # too much to be seen at once
            pair = Pair(ours, theirs, groups[0])
    except NewModelRefuses as refusal:
        return failed(options, str(refusal))
    demands = [Demand(graph, options.memory) for graph in (ours, theirs)]

    def require_room(shapes: Mapping[str, Shape]) -> None:
        for demand in demands:
            demand.require_a_run(shapes)

    feeding = choose_feeding(pair.original, options, bounds, wants, require_room)
    trial = Trial(ours, theirs, feeding, options, progress)
    return trial.run(pair, groups[1:])
