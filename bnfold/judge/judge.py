"""Whether two models compute the same, by running both."""

from collections.abc import Sequence
from dataclasses import dataclass

from bnfold.errors import VerificationError
from bnfold.judge.compare import differences
from bnfold.judge.inputs import distinct_samples, draw, name_of_draw
from bnfold.judge.noise import Noise, NoiseLevel
from bnfold.judge.options import VerifyOptions
from bnfold.judge.result import OutputCheck, Verification
from bnfold.judge.sessions import Feeds, ModelSource, Session
from bnfold.judge.shapes import Setting, settings
from bnfold.judge.signature import signature_difference
from bnfold.judge.tally import Tally
from bnfold.judge.tolerance import noise_matters

_GO_ON = "to go on without a check use --no-verify"


def check(reference: ModelSource, candidate: ModelSource, options: VerifyOptions | None = None) -> Verification:
    """Run both models on the same inputs, as they are written, and compare every output.

    Args:
        reference: the original, as a path or as a serialised ModelProto.
        candidate: the new model, likewise.
        options: inputs and tolerances; None for the defaults.

    Returns:
        A verification that passed, or that failed and says where. A candidate that does not load or run has failed.

    Raises:
        VerificationError: the reference does not load or run, so that nothing can be compared with it.
        UsageError: the options name an input or dimension that the reference does not have, or contradict it.
    """
    options = options or VerifyOptions()
    try:
        original = Session("the original", reference)
    except VerificationError as error:
        raise VerificationError(f"{error}; {_GO_ON}") from error
    try:
        new = Session("the new model", candidate)
    except VerificationError as error:
        return _failed(options, str(error))
    problem = signature_difference(original.signature, new.signature)
    if problem:
        return _failed(options, problem)
    return _Trial(original, new, Noise(reference, original), _first_that_runs(original, options), options).run()


def _failed(options: VerifyOptions, problem: str) -> Verification:
    return Verification(status="failed", samples=0, seed=options.seed, problem=problem)


def _first_that_runs(original: Session, options: VerifyOptions) -> Setting:
    """The first way to feed the original that it accepts."""
    refused: list[tuple[Setting, VerificationError]] = []
    inputs = original.signature.inputs
    for setting in settings(inputs, options):
        try:
            original.run(draw(inputs, setting, options, sample=0))
        except VerificationError as error:
            refused.append((setting, error))
        else:
            return setting
    setting, reason = refused[0]
    fed = ", ".join(f"{name}={','.join(map(str, shape))}" for name, shape in setting.shapes.items())
    tried = "" if len(refused) == 1 else f" nor with {len(refused) - 1} other choices of sizes"
    raise VerificationError(
        f"{reason} (fed with {fed or 'nothing'}{tried}); give --shape, --dim or --input, or {_GO_ON}"
    ) from reason


@dataclass(frozen=True)
class _Trial:
    """Two models of one signature, and a way to feed them."""

    original: Session
    new: Session
    noise: Noise
    setting: Setting
    options: VerifyOptions

    def run(self) -> Verification:
        """Compare sample by sample. What the original refuses is left out; what only the new model refuses fails."""
        inputs = self.original.signature.inputs
        tallies = [Tally(port.name, self.options) for port in self.original.signature.outputs]
        left_out: list[str] = []
        count = distinct_samples(inputs, self.options)
        for sample in range(count):
            where = name_of_draw(inputs, self.options, sample)
            feeds = draw(inputs, self.setting, self.options, sample)
            try:
                expected = self.original.run(feeds)
            except VerificationError as error:
                left_out.append(f"{where} left out: {error}")
                continue
            try:
                got = self.new.run(feeds)
            except VerificationError as error:
                return _failed(self.options, f"{error} (in {where})")
            self._compare(feeds, expected, got, tallies, where)
        return _put_together(tallies, count - len(left_out), self.options.seed, left_out)

    def _compare(
        self, feeds: Feeds, expected: list[object], got: list[object], tallies: Sequence[Tally], where: str
    ) -> None:
        found = [differences(a, b) for a, b in zip(expected, got, strict=True)]
        noise: list[NoiseLevel] | list[None] = [None] * len(found)
        if any(noise_matters(difference, self.options) for output in found for difference in output):
            noise = self.noise.measure(feeds, expected)
        for tally, values, output, level in zip(tallies, expected, found, noise, strict=True):
            tally.see(values)
            tally.add(output, level, where)


def _put_together(tallies: Sequence[Tally], samples: int, seed: int, warnings: Sequence[str]) -> Verification:
    outputs = tuple(tally.result() for tally in tallies)
    weak = [] if any(tally.varies for tally in tallies) else ["weak evidence: no output of the original ever varied"]
    problem = _summary(outputs) if samples else "the original refused every sample"
    return Verification(
        status="failed" if problem else "passed",
        samples=samples,
        seed=seed,
        outputs=outputs,
        problem=problem,
        warnings=(*warnings, *filter(None, (tally.warning for tally in tallies)), *weak),
    )


def _summary(outputs: Sequence[OutputCheck]) -> str:
    wrong = [output for output in outputs if not output.passed]
    if not wrong:
        return ""
    others = f" (and {len(wrong) - 1} more outputs)" if len(wrong) > 1 else ""
    return f"output {wrong[0].name!r}: {wrong[0].problem}{others}"
