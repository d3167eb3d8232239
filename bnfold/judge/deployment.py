"""The new model as it will be deployed: at onnxruntime's default optimisation level, on the caller's provider."""

from collections.abc import Sequence
from contextlib import suppress

from bnfold.errors import VerificationError
from bnfold.judge.compare import differences
from bnfold.judge.model import Model
from bnfold.judge.noise import Noise, NoiseLevel
from bnfold.judge.options import VerifyOptions
from bnfold.judge.result import DeploymentCheck
from bnfold.judge.sessions import Feeds, Level, Session
from bnfold.judge.tally import Tally
from bnfold.judge.tolerance import differ, noise_matters


def check_deployment(
    original: Model, new: Model, feeds: Feeds, expected: list[object], options: VerifyOptions
) -> DeploymentCheck:
    """Run the new model once at default settings.

    Where it differs, the original at the same settings says how much of that is the settings' own.

    Args:
        original: the original.
        new: the model to deploy.
        feeds: one sample.
        expected: what the original, run as it is written, makes of it.
        options: provider and tolerances.
    """
    provider = options.provider
    try:
        session = Session(new, level=Level.DEFAULT, provider=provider)
        got = session.run(feeds)
    except VerificationError as error:
        if _runs(original, feeds, provider):
            return DeploymentCheck(provider, float("nan"), passed=False, problem=str(error))
        return DeploymentCheck(provider, float("nan"), passed=True, problem=f"neither model runs there: {error}")
    tallies = [Tally(port.name, options) for port in session.signature.outputs]
    found = [differences(a, b) for a, b in zip(expected, got, strict=True)]
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


def _runs(original: Model, feeds: Feeds, provider: str) -> bool:
    with suppress(VerificationError):
        Session(original, level=Level.DEFAULT, provider=provider).run(feeds)
        return True
    return False
