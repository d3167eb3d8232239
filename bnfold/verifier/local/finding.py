"""What the verifier finds at one tensor that was made in two ways."""

import math
from dataclasses import dataclass

import numpy as np

from bnfold.verifier.compare.arrays import non_finite_difference
from bnfold.verifier.compare.channels import Array


@dataclass(frozen=True)
class LocalFinding:
    """What a cut-out part says about its site.

    Attributes:
        tensor: of the site.
        excess: the largest difference in units of what is allowed; up to 1 is rounding.
        error: the largest difference in units of its channel's largest value.
        channel: where the excess is; None where the tensor has no channels.
        original, new: the two values that are furthest apart there.
        what: what exceeds: "differs", "is 1.0000053 times", ...; empty if nothing does.
        nearer: which side is nearer to float64, "original" or "new"; empty where that was not computed.
        where: on which values it was found.
        overflows: whether that is so because the original reaches infinity there, or has NaN.
        has_reference: whether the part could be computed in float64, had anybody asked.
    """

    tensor: str
    excess: float
    error: float
    channel: int | None
    original: float
    new: float
    what: str = ""
    nearer: str = ""
    where: str = ""
    overflows: bool = False
    has_reference: bool = True

    def __str__(self) -> str:
        """In one line: channel, what is wrong, both values, where that was seen."""
        channel = "" if self.channel is None else f"channel {self.channel} "
        values = "" if math.isnan(self.new) else f": {self.new:.9g} against {self.original:.9g} in the original"
        nearer = f" (in float64 the {self.nearer} model is nearer)" if self.nearer else ""
        nearer = nearer if self.has_reference else " (which cannot be computed in float64)"
        return f"{channel}{self.what}{values}{nearer} {self.where}".rstrip()


def finding_at(
    tensor: str, axis: int | None, channel: int, a: Array, b: Array, excess: float, what: str
) -> LocalFinding:
    """The finding about one channel.

    Args:
        tensor: its name.
        axis: of the channels, None where the tensor is one.
        channel: which.
        a: the original's values, (channels, places).
        b: the new model's.
        excess: in units of what is allowed.
        what: what is wrong if the excess is more than 1.
    """
    place = int(np.argmax(np.abs(b[channel] - a[channel])))
    left, right = float(a[channel, place]), float(b[channel, place])
    scale = float(np.max(np.abs(a[channel])))
    error = abs(right - left) / scale if scale > 0 else (math.inf if right != left else 0.0)
    return LocalFinding(
        tensor, excess, error, None if axis is None else channel, left, right, what if excess > 1 else ""
    )


def incomparable_because(a: Array, b: Array) -> str:
    """Why two tensors cannot be compared value by value; "" if they can."""
    if a.dtype != b.dtype or a.shape != b.shape:
        return f"has shape {b.shape} and dtype {b.dtype} against {a.shape} and {a.dtype}"
    problem = non_finite_difference(a, b)
    return f"has {problem}" if problem else ""


def incomparable(tensor: str, what: str) -> LocalFinding:
    """A tensor that is wrong whatever its values."""
    return LocalFinding(tensor, math.inf, math.inf, None, math.nan, math.nan, what)


def nothing_found(tensor: str) -> LocalFinding:
    """A tensor without any values."""
    return LocalFinding(tensor, 0.0, 0.0, None, 0.0, 0.0)
