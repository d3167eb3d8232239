"""What the verifier finds at one tensor that was made in two ways."""

import math
from dataclasses import dataclass

from bnfold.verifier.compare.arrays import non_finite_difference
from bnfold.verifier.compare.channels import Array


@dataclass(frozen=True)
class LocalFinding:
    """What two subgraphs say about a changed tensor.

    Attributes:
        tensor: its name.
        excess: the largest difference in units of what is allowed; up to 1 is rounding.
        error: the largest difference in units of its channel's largest value.
        channel: where the excess is; None where the tensor has no channels.
        original, new: the two values that are furthest apart there.
        what: what exceeds: "differs", ...; empty if nothing does.
        where: on which values it was found.
    """

    tensor: str
    excess: float
    error: float
    channel: int | None
    original: float
    new: float
    what: str = ""
    where: str = ""

    def __str__(self) -> str:
        """In one line: channel, what is wrong, both values, where that was seen."""
        channel = "" if self.channel is None else f"channel {self.channel} "
        values = "" if math.isnan(self.new) else f": {self.new:.9g} against {self.original:.9g} in the original"
        return f"{channel}{self.what}{values} {self.where}".rstrip()


def incomparable_because(a: Array, b: Array) -> str:
    """Why two tensors cannot be compared value by value; "" if they can."""
    if a.dtype != b.dtype or a.shape != b.shape:
        return f"has shape {b.shape} and dtype {b.dtype} against {a.shape} and {a.dtype}"
    problem = non_finite_difference(a, b)
    return f"has {problem}" if problem else ""


def incomparable(tensor: str, what: str) -> LocalFinding:
    """A tensor that is wrong whatever its values."""
    return LocalFinding(tensor, math.inf, math.inf, None, math.nan, math.nan, what)
