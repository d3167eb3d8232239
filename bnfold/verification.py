"""What a check is asked, and what it answers, as values: without the verifier, which takes time to import."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from bnfold.errors import UsageError
from bnfold.keywords import keyword
from bnfold.kinds import ARRAYS, FLAG, NUMBER_OR_NONE, SHAPES, SIZES, TEXT, TEXTS, WHOLE, check_kinds

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


@dataclass(frozen=True, repr=False)
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

    def __repr__(self) -> str:
        problems = [self.problem, *(tensor.problem for tensor in self.tensors), *(one.problem for one in self.outputs)]
        why = next(filter(None, problems), "") or ("" if self.samples or not self.passed else "nothing differs")
        on = f" on {self.samples} sample{'s' * (self.samples != 1)}" if self.samples else ""
        return f"<Verification: {self.status}{on}{f': {why}' if why else ''}>"


SKIPPED = Verification(status="skipped", samples=0, seed=0)


_KINDS = {
    **dict.fromkeys(("samples", "seed", "memory"), WHOLE),
    **dict.fromkeys(("rtol", "atol"), NUMBER_OR_NONE),
    **dict.fromkeys(("probe", "same_names"), FLAG),
    "shapes": SHAPES,
    "dims": SIZES,
    "inputs": ARRAYS,
    "custom_ops": TEXTS,
    "provider": TEXT,
}


@dataclass(frozen=True)
class VerifyOptions:
    """Inputs and tolerances of a check.

    Attributes:
        samples: how many input draws to compare, at least 1.
        seed: of the generator that draws them, at least 0.
        rtol: tolerated max|a - b| in units of max|a|, per output and sample; None for the default of the dtype.
        atol: tolerated max|a - b| in units of the output; None for the default of the dtype. With either of the two
            given, the other counts as 0 and no default applies. Integers, booleans and strings know no tolerance.
        shapes: full shape of an input, by its name.
        dims: size of a symbolic dimension, by its name.
        inputs: real values of an input, by its name. Where the model fixes the first dimension to D, an array of
            k * D rows holds k samples.
        probe: judge the parts that differ on values of the check's own choice as well, not only on those that the
            samples bring there. Off, models may differ where no sample goes.
        same_names: a tensor of one name in both models must hold the same values. Some tools give the name of one
            tensor to another. Off, a name whose values differ is taken for such a one, and the next tensors behind it
            have to agree.
        memory: bytes that the tensors inside the graph may take while they are compared.
        custom_ops: files of libraries with operators that the models use. Each is code, and it is run.
        provider: onnxruntime's execution provider for the run at its default settings.

    Raises:
        UsageError: a value is of another kind, a number is out of its range, or samples of an input are empty or not
            finite.
    """

    samples: int = 6
    seed: int = 0
    rtol: float | None = None
    atol: float | None = None
    shapes: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    dims: Mapping[str, int] = field(default_factory=dict)
    inputs: Mapping[str, npt.NDArray[Any]] = field(default_factory=dict)
    probe: bool = True
    same_names: bool = True
    memory: int = 2 * 2**30
    custom_ops: tuple[str, ...] = ()
    provider: str = "CPUExecutionProvider"

    def __post_init__(self) -> None:
        check_kinds(self, _KINDS)
        if self.samples < 1:
            raise UsageError(
                f"a check needs at least 1 sample, got {self.samples}: skip it with {keyword('verify', False)} instead"
            )
        if self.seed < 0:
            raise UsageError(f"the seed must be 0 or greater, got {self.seed}")
        if self.memory < 1:
            raise UsageError(f"the check needs memory, got {self.memory} bytes")
        for name, value in (("rtol", self.rtol), ("atol", self.atol)):
            if value is not None and not (math.isfinite(value) and value >= 0):
                raise UsageError(f"{name} must be a finite number, 0 or greater, got {value}")
        for name, shape in (*((name, (size,)) for name, size in self.dims.items()), *self.shapes.items()):
            if any(size < 0 for size in shape):
                raise UsageError(f"sizes must be 0 or greater, got {name}={','.join(map(str, shape))}")
        for name, values in self.inputs.items():
            _check_samples(name, np.asarray(values))


def _check_samples(name: str, values: npt.NDArray[Any]) -> None:
    """Where every number is NaN, or there is none, any two models agree."""
    if not values.size:
        raise UsageError(f"the samples of input {name!r} are empty, of shape {values.shape}: give at least one")
    try:
        odd = ~np.isfinite(values)
    except TypeError:  # strings
        return
    if odd.any():
        place = ", ".join(map(str, np.argwhere(odd)[0]))
        raise UsageError(
            f"the samples of input {name!r} hold {odd.sum()} of {values.size} numbers that are infinite or NaN, the "
            f"first at [{place}]: nothing can be compared there, give finite numbers"
        )
