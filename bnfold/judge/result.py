"""The verdict of a check, as values."""

import math
from dataclasses import dataclass
from typing import Literal

Status = Literal["passed", "failed", "skipped"]


@dataclass(frozen=True)
class OutputCheck:
    """One graph output over all samples.

    Attributes:
        name: the output's name.
        max_abs: largest |a - b|, in units of the output; NaN where the values could not be compared.
        max_rel: the same, divided by the largest |a| of that output in its sample; the largest over the samples.
        passed: whether every value was within the tolerance.
        problem: what is wrong, empty if nothing is: "shape (1, 3) against (3,)", "2 new NaN", ...
        noise_floor: how far the original moves by its own rounding, in the units of max_rel (of integers, booleans
            and strings: the share of the values that change); NaN where max_rel was too small for it to matter.
    """

    name: str
    max_abs: float
    max_rel: float
    passed: bool
    problem: str = ""
    noise_floor: float = math.nan


@dataclass(frozen=True)
class Verification:
    """Whether two models compute the same, and on what evidence.

    Attributes:
        status: "passed", "failed", or "skipped" where nobody asked.
        samples: how many input draws were compared.
        seed: of the generator that drew them.
        outputs: one check per output of the reference, in its order.
        problem: one line that says what is wrong as a whole; empty if nothing is.
        warnings: one line each for what weakens the evidence, though it failed nothing: samples left out, outputs
            that never varied.
    """

    status: Status
    samples: int
    seed: int
    outputs: tuple[OutputCheck, ...] = ()
    problem: str = ""
    warnings: tuple[str, ...] = ()

    @property
    def passed(self) -> bool:
        """True only if the check ran and found nothing."""
        return self.status == "passed"


SKIPPED = Verification(status="skipped", samples=0, seed=0)
