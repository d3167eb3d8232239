"""The new model as it will be deployed: at onnxruntime's default optimisation level, on the caller's provider."""

from collections.abc import Sequence
from dataclasses import dataclass

from bnfold.judge.compare import differences
from bnfold.judge.complaints import RefusedError
from bnfold.judge.model import Model
from bnfold.judge.noise import Noise, NoiseLevel
from bnfold.judge.options import VerifyOptions
from bnfold.judge.result import DeploymentCheck
from bnfold.judge.sessions import Feeds, Level, Session
from bnfold.judge.tally import Tally
from bnfold.judge.tolerance import differ, noise_matters


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


def deploy(model: Model, feeds: Feeds, provider: str) -> Deployed:
    """Run a model once at default settings."""
    try:
        session = Session(model, level=Level.DEFAULT, provider=provider)
        return Deployed([port.name for port in session.signature.outputs], session.run(feeds))
    except RefusedError as error:
        return Deployed(problem=str(error))


def check_deployment(
    deployed: Deployed, original: Model, feeds: Feeds, expected: list[object], options: VerifyOptions
) -> DeploymentCheck:
    """Judge what the new model made at default settings.

    Where it differs, the original at the same settings says how much of that is the settings' own.

    Args:
        deployed: the new model.
        original: the original.
        feeds: the sample.
        expected: what the original, run as it is written, makes of it.
        options: provider and tolerances.
    """
    provider = options.provider
    if deployed.problem:
        if not deploy(original, feeds, provider).problem:
            return DeploymentCheck(provider, float("nan"), passed=False, problem=deployed.problem)
        neither = f"neither model runs there: {deployed.problem}"
        return DeploymentCheck(provider, float("nan"), passed=True, problem=neither)
    tallies = [Tally(name, options) for name in deployed.names]
    found = [differences(a, b) for a, b in zip(expected, deployed.outputs, strict=True)]
    noise: Sequence[NoiseLevel | None] = [None] * len(found)
    if any(noise_matters(difference, options) for output in found for difference in output):
        measured = Noise(original, Session(original), provider)
        noise = measured.measure(feeds, expected, lambda levels: differ(found, options, levels))
    for tally, output, level in zip(tallies, found, noise, strict=True):
        tally.add(output, level, "the first sample")
    results = [tally.result() for tally in tallies if not tally.is_undecided]
    wrong = next((result for result in results if not result.passed), None)
    problem = f"output {wrong.name!r}: {wrong.problem}" if wrong else ""
    return DeploymentCheck(provider, max((result.max_rel for result in results), default=0.0), not wrong, problem)
