"""The verdict of a check, as values."""

import math
from dataclasses import dataclass
from typing import Literal

Status = Literal["passed", "partial", "failed", "unchecked", "skipped"]


@dataclass(frozen=True)
class OutputCheck:
    """One graph output over all samples.

    Attributes:
        name: the output's name.
        max_abs: largest |a - b|, in units of the output; NaN where the values could not be compared.
        max_rel: the same, divided by the largest |a| of that output in its sample; the largest over the samples.
        passed: whether every value was within the tolerance.
        problem: what is wrong, empty if nothing is: "shape (1, 3) against (3,)", ...
        noise_floor: how far the original moves by its own rounding, in the units of max_rel (of integers, booleans
            and strings: the share of the values that change); NaN where it was not measured.
    """

    name: str
    max_abs: float
    max_rel: float
    passed: bool
    problem: str = ""
    noise_floor: float = math.nan


@dataclass(frozen=True)
class TensorCheck:
    """One tensor inside the graph that the two models make in different ways: the place of one or more folds.

    Attributes:
        name: of the tensor, in both models.
        inside: names of the tensors that the original makes on the way there from the last tensors that both have.
        max_rel: largest |a - b| in units of the largest |a| of its channel, over the channels and samples.
        channel: where that was; None where the tensor has no channels.
        noise_floor: how far that channel moves by the original's own rounding, in the units of max_rel; NaN where that
            was not measured.
        excess: how far the worst channel of the parts cut out goes beyond what rounding explains: up to 1 is rounding;
            NaN where they could not be run by themselves.
        passed: whether nothing was wrong.
        problem: what was wrong, with channel and values; empty if nothing.
        nearer: which model is nearer to float64 there: "original", "new", or "" where nobody asked.
    """

    name: str
    inside: frozenset[str]
    max_rel: float
    channel: int | None
    passed: bool
    noise_floor: float = math.nan
    excess: float = math.nan
    problem: str = ""
    nearer: str = ""


@dataclass(frozen=True)
class DeploymentCheck:
    """The new model as a deployed session runs it, against the original as it is written.

    Attributes:
        provider: the execution provider.
        max_rel: the largest of all outputs, as in OutputCheck.
        passed: whether every output was within the tolerance.
        problem: what is wrong, empty if nothing is.
        note: what explains a difference that passed: an optimiser of onnxruntime's by name.
    """

    provider: str
    max_rel: float
    passed: bool
    problem: str = ""
    note: str = ""


@dataclass(frozen=True)
class Verification:
    """Whether two models compute the same, and on what evidence.

    Attributes:
        status: "passed", "partial" where every changed part passed by itself but not all around them could be run, as
            the first warning says, "failed", "unchecked" where it could not be found out, or "skipped" where nobody
            asked.
        samples: how many input draws were compared.
        seed: of the generator that drew them.
        outputs: one check per output of the reference, in its order.
        tensors: one check per tensor that the models make in different ways, in the order of the reference.
        deployment: the new model at onnxruntime's default settings; None where that was not tried.
        problem: one line that says what is wrong as a whole; empty if nothing is.
        warnings: one line each for what weakens the evidence, though it failed nothing: samples left out, outputs
            that never varied.
        identical: whether both models hold the same nodes and the same numbers, so that nothing had to be run.
    """

    status: Status
    samples: int
    seed: int
    outputs: tuple[OutputCheck, ...] = ()
    tensors: tuple[TensorCheck, ...] = ()
    deployment: DeploymentCheck | None = None
    problem: str = ""
    warnings: tuple[str, ...] = ()
    identical: bool = False

    @property
    def passed(self) -> bool:
        """True only if the check ran and found nothing, as far as it could see."""
        return self.status in ("passed", "partial")


SKIPPED = Verification(status="skipped", samples=0, seed=0)
