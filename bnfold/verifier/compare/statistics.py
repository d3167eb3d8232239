"""What the samples say about one output, put together."""

import math
from collections.abc import Sequence

import numpy as np

from bnfold.keywords import keyword
from bnfold.verification import OutputCheck, VerifyOptions
from bnfold.verifier.compare.arrays import Difference, tensors
from bnfold.verifier.compare.noise import NoiseLevel
from bnfold.verifier.compare.tolerance import EXACT, LIMITS, Verdict, explained_by_steps, judge, tolerated


class OutputStatistics:
    """One output over all samples, sample by sample.

    Args:
        name: of the output.
        options: of the check.

    Attributes:
        name: of the output.
        by_steps: whether some difference passed as steps of the model's own quantizers.
        by_truth: in how many samples a difference passed because it is none in float64.
        varies: whether the original gave more than one finite value, beyond rounding, over all samples seen.
    """

    def __init__(self, name: str, options: VerifyOptions) -> None:
        self.name = name
        self.varies = self.by_steps = False
        self.by_truth = 0
        self._options = options
        self._max_abs = self._max_rel = 0.0
        self._noise = math.nan
        self._problem = self._doubt = ""
        self._decided = self._undecided = 0
        self._low, self._high = math.inf, -math.inf

    def see(self, values: object) -> None:
        """Note the original's values of one sample, to know in the end whether they ever varied."""
        for tensor in tensors(values):
            if tensor.dtype.kind in "OU":
                self.varies = True
                continue
            numbers = tensor.astype(np.float64)
            numbers = numbers[np.isfinite(numbers)]
            self._low = min(self._low, float(np.min(numbers, initial=math.inf)))
            self._high = max(self._high, float(np.max(numbers, initial=-math.inf)))
            rounding = LIMITS.get(tensor.dtype, EXACT).floor * max(abs(self._low), abs(self._high))
            self.varies |= self._high - self._low > rounding

    def settle(self, found: Sequence[Difference], noise: NoiseLevel) -> None:
        """Count one sample in which the output is the same in float64, whatever the differences here.

        Args:
            found: one Difference per tensor in the output.
            noise: the original's own.
        """
        self._see_noise(noise)
        self._decided += 1
        self.by_truth += 1
        self._see_largest(found)

    def add(self, found: Sequence[Difference], noise: NoiseLevel | None, where: str, doubt: str = "") -> None:
        """Count one sample.

        Args:
            found: one Difference per tensor in the output.
            noise: the original's own, where it was measured.
            where: how messages call the sample.
            doubt: why float64 does not show that the output is the same, where it was asked.
        """
        if noise is not None:
            self._see_noise(noise)
        self._doubt = self._doubt or doubt
        verdicts = [judge(difference, self._options, noise) for difference in found]
        if max(verdicts, default=Verdict.EQUAL) is Verdict.UNDECIDED:
            self._undecided += 1
            return
        self._decided += 1
        self.by_steps |= noise is not None and any(explained_by_steps(entry, self._options, noise) for entry in found)
        self._see_largest(found)
        for difference, verdict in zip(found, verdicts, strict=True):
            if verdict is Verdict.DIFFERENT and not self._problem:
                self._problem = f"{self._describe(difference)} in {where}" + (f"; {doubt}" if doubt else "")

    def _see_noise(self, noise: NoiseLevel) -> None:
        self._noise = noise.error if math.isnan(self._noise) else max(self._noise, noise.error)

    def _see_largest(self, found: Sequence[Difference]) -> None:
        for difference in found:
            self._max_abs = float(np.maximum(self._max_abs, difference.max_abs))
            self._max_rel = float(np.maximum(self._max_rel, difference.max_rel))

    def _describe(self, difference: Difference) -> str:
        if difference.problem or difference.dtype not in LIMITS:
            return str(difference)
        own = "" if math.isnan(self._noise) else f", the original's own noise is {self._noise:.2g} of max |a|"
        return f"{difference}; tolerated is {tolerated(difference, self._options):.3g}{own}"

    @property
    def differs(self) -> bool:
        """Whether it did in some sample."""
        return bool(self._problem)

    @property
    def is_undecided(self) -> bool:
        """Whether the original is too unstable in every sample for any verdict."""
        return bool(self._undecided and not self._decided)

    @property
    def warning(self) -> str:
        """What weakens the evidence for this output; empty if nothing does."""
        if not self._undecided:
            steps = f"output {self.name!r} differs by a step of the model's own quantizers" if self.by_steps else ""
            truth = f"output {self.name!r}: {self.by_truth} of {self._decided} samples judged in float64"
            return truth if self.by_truth else steps
        total = self._decided + self._undecided
        return f"output {self.name!r}: {self._undecided} of {total} samples left out, {self._instability}"

    @property
    def _instability(self) -> str:
        if math.isinf(self._noise):
            return self._doubt or "where another rounding of the original gives another shape, NaN or infinity"
        return f"where the original itself moves by {self._noise:.2g} of its scale under another rounding"

    def result(self) -> OutputCheck:
        """The output's check over all samples that were added."""
        problem = self._problem
        if self.is_undecided:
            doubt = f" ({self._doubt})" if self._doubt and not math.isinf(self._noise) else ""
            way_out = f"give real samples with {keyword('VerifyOptions.inputs')}"
            problem = f"equality cannot be shown, {self._instability}{doubt}: {way_out}"
        return OutputCheck(
            name=self.name,
            max_abs=self._max_abs if self._decided else math.nan,
            max_rel=self._max_rel if self._decided else math.nan,
            passed=not problem,
            problem=problem,
            noise_floor=self._noise,
        )
