"""What the caller may say about a check."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from bnfold.errors import UsageError


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
        UsageError: a number is out of its range, or samples of an input are empty or not finite.
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
        if self.samples < 1:
            raise UsageError(f"a check needs at least 1 sample, got {self.samples}: skip it with --no-verify instead")
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
