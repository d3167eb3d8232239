"""The new model as it will be deployed: at onnxruntime's default optimisation level, on the caller's provider."""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from bnfold.verification import DeploymentCheck, VerifyOptions
from bnfold.verifier.compare.arrays import Difference, differences
from bnfold.verifier.compare.noise import NoiseLevel, Perturbed
from bnfold.verifier.compare.quantizers import BLAMED_OPTIMISERS
from bnfold.verifier.compare.statistics import OutputStatistics
from bnfold.verifier.compare.tolerance import differ, noise_matters
from bnfold.verifier.models.load import Model
from bnfold.verifier.models.refused import RefusedError
from bnfold.verifier.models.segments import can_be_cut
from bnfold.verifier.run.runner import OnnxRunner, as_perturbed, measure, observe_moved
from bnfold.verifier.run.session import Feeds, Level, Session

_MOST_NODES = 2**15
"""Of one session: for 2^14, onnxruntime takes 10 s to make it at default settings, and for twice as many five times as
long."""
_IN_PARTS = "run in parts: onnxruntime would take minutes to optimise so many nodes at once"


def _is_cut(model: Model) -> bool:
    return len(model.proto.graph.node) > _MOST_NODES and can_be_cut(model)


@dataclass(frozen=True)
class Deployed:
    """One run at default settings.

    Attributes:
        names: of the outputs.
        outputs: what came out.
        problem: why nothing did; "" if something did.
    """

    names: Sequence[str] = ()
    outputs: Sequence[object] = ()
    problem: str = ""


def deploy(model: Model, feeds: Feeds, provider: str, without: Sequence[str] = ()) -> Deployed:
    """Run a model once at default settings, but for optimisers that are left out."""
    try:
        session = Session(model, level=Level.DEFAULT, provider=provider, without=without, may_be_cut=_is_cut(model))
        return Deployed([port.name for port in session.signature.outputs], session.run(feeds))
    except RefusedError as error:
        return Deployed(problem=str(error))


@dataclass(frozen=True)
class Baseline:
    """What a deployed model has to equal.

    Attributes:
        original: the original, as it is written.
        feeds: the sample.
        expected: what the original, run as it is written, makes of it.
        further: what else says how large its noise is, where there is doubt.
    """

    original: OnnxRunner
    feeds: Feeds
    expected: Sequence[object]
    further: Callable[[], Iterable[Perturbed]]


def check_deployment(deployed: Deployed, new: Model, baseline: Baseline, options: VerifyOptions) -> DeploymentCheck:
    """Judge what the new model made at default settings.

    Where it differs, the original at the same settings says how much of that is the settings' own.

    Args:
        deployed: what it made.
        new: the new model.
        baseline: what it should have made.
        options: provider and tolerances.
    """
    provider = options.provider
    if deployed.problem:
        if not deploy(baseline.original.model, baseline.feeds, provider).problem:
            return DeploymentCheck(provider, math.nan, passed=False, problem=deployed.problem)
        neither = f"neither model runs there: {deployed.problem}"
        return DeploymentCheck(provider, math.nan, passed=True, problem=neither)
    compared = _compared(deployed, baseline, options)
    results = [entry.result() for entry in compared if not entry.is_undecided]
    wrong = next((result for result in results if not result.passed), None)
    problem = f"output {wrong.name!r}: {wrong.problem}" if wrong else ""
    by_steps = not wrong and any(entry.by_steps for entry in compared)
    note = _note(new, baseline, options) if by_steps else _IN_PARTS if _is_cut(new) else ""
    worst = max((result.max_rel for result in results), default=0.0)
    return DeploymentCheck(provider, worst, not wrong, problem, note)


def _compared(deployed: Deployed, baseline: Baseline, options: VerifyOptions) -> list[OutputStatistics]:
    """One per output, with the one sample in it."""
    compared = [OutputStatistics(name, options) for name in deployed.names]
    found = _differences(deployed, baseline, options)
    noise: Sequence[NoiseLevel | None] = [None] * len(found)
    if any(noise_matters(difference, options) for output in found for difference in output):
        runner = baseline.original.on(options.provider)
        moved = [seen for way in (1, -1) for seen in observe_moved(runner, baseline.feeds, (), way)]
        noise = measure(
            runner,
            baseline.feeds,
            baseline.expected,
            as_perturbed(moved),
            baseline.further(),
            lambda levels: differ(found, options, levels),
        )
    for statistics, output, level in zip(compared, found, noise, strict=True):
        statistics.add(output, level, "the first sample")
    return compared


def _differences(deployed: Deployed, baseline: Baseline, options: VerifyOptions) -> list[list[Difference]]:
    """Of each output to what is expected; where these settings make NaN and infinities of their own, to theirs."""
    found = [differences(a, b) for a, b in zip(baseline.expected, deployed.outputs, strict=True)]
    if not any(difference.problem for output in found for difference in output):
        return found
    original = deploy(baseline.original.model, baseline.feeds, options.provider)
    if original.problem:
        return found
    there = [differences(a, b) for a, b in zip(original.outputs, deployed.outputs, strict=True)]
    return [
        other if any(difference.problem for difference in output) else output
        for output, other in zip(found, there, strict=True)
    ]


def _note(new: Model, baseline: Baseline, options: VerifyOptions) -> str:
    """What explains steps of quantizers: the optimiser without which there are none, if there is one."""
    for name in BLAMED_OPTIMISERS:
        without = deploy(new, baseline.feeds, options.provider, (name,))
        if not without.problem and not any(entry.by_steps for entry in _compared(without, baseline, options)):
            return f"a step of its own quantizers away: onnxruntime's optimiser {name} quantizes the new bias"
    return "a step of its own quantizers away"
