"""The tensors in which two models differ, on one sample: what both whole models make of it there.

Every channel is measured by its own largest value. What is beyond the floor of its type may still be noise of what
came before, or of its own sums; whoever asks has to find that out.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from bnfold.verification import TensorCheck
from bnfold.verifier.compare.arrays import FLOATS, Difference, differences, non_finite_difference
from bnfold.verifier.compare.channels import Array, Extent, extent_along, extents, ratios, smallest
from bnfold.verifier.compare.finding import LocalFinding
from bnfold.verifier.compare.tolerance import EXACT, LIMITS, NOISE_FACTOR, OwnTolerance, channel_floor
from bnfold.verifier.models.changed import ChangedTensor


@dataclass
class TensorRecord:
    """What is known of one changed tensor so far."""

    changed: ChangedTensor
    inside: frozenset[str]
    max_rel: float = 0.0
    channel: int | None = None
    noise: float = math.nan
    excess: float = math.nan
    problem: str = ""
    failed_channel: int | None = None

    @property
    def is_open(self) -> bool:
        """Whether it was not compared by itself, and nothing is known to be wrong."""
        return math.isnan(self.excess) and not self.problem

    def fail(self, problem: str, channel: int | None = None) -> None:
        """Note what is wrong; the first problem counts."""
        if not self.problem:
            self.problem = problem
            self.failed_channel = channel

    def see_local(self, finding: LocalFinding) -> None:
        """Note what its subgraphs say."""
        self.excess = finding.excess if math.isnan(self.excess) else max(self.excess, finding.excess)
        if finding.what:
            self.fail(str(finding), finding.channel)

    def see_extent(self, extent: Extent) -> None:
        """Note how far both models are apart in a sample."""
        relative = ratios(extent.error, extent.scale)
        if relative.size and np.max(relative) > self.max_rel:
            self.max_rel = float(np.max(relative))
            self.channel = None if extent.axis is None else int(np.argmax(relative))

    def result(self) -> TensorCheck:
        """The tensor's check."""
        return TensorCheck(
            name=self.changed.name,
            inside=self.inside,
            max_rel=self.max_rel,
            channel=self.failed_channel if self.problem else self.channel,
            passed=not self.problem,
            noise_floor=self.noise,
            excess=self.excess,
            problem=self.problem,
        )


@dataclass(frozen=True)
class Doubt:
    """Something about a tensor that would be wrong, were it not for rounding.

    Attributes:
        record: of the tensor.
        what: in words.
        channel: where; None where the tensor has none, or all of it is meant.
        beyond: the channels that are beyond the limit, as a mask.
        extent: along the axis that these lie on; None where values cannot be compared as numbers.
    """

    record: TensorRecord
    what: str
    channel: int | None = None
    beyond: Array | None = None
    extent: Extent | None = None


def compare_tensor(
    record: TensorRecord, a: object, b: object, precision: "np.dtype[np.generic]", tolerance: OwnTolerance | None
) -> list[Doubt]:
    """Compare one tensor of the original with the new model's in one sample, and note how far they are apart."""
    if not (isinstance(a, np.ndarray) and isinstance(b, np.ndarray) and a.dtype in FLOATS):
        found = [entry for entry in differences(a, b) if entry.problem or entry.error > _limit(entry)]
        return [Doubt(record, f"has {entry}" if entry.problem else str(entry)) for entry in found]
    if a.dtype != b.dtype or a.shape != b.shape:
        return [Doubt(record, f"has shape {b.shape} and dtype {b.dtype} against {a.shape} and {a.dtype}")]
    found_along = extents(a, b)
    problem = "" if all(extent.finite for extent in found_along) else non_finite_difference(a, b)
    if problem:
        return [Doubt(record, f"has {problem}")]
    if found_along:
        record.see_extent(found_along[0])
    doubts = []
    for extent in found_along:
        relative = ratios(extent.error, extent.scale)
        if tolerance is not None:
            beyond = tolerance.excess(extent.error, extent.scale) > 1
        else:
            beyond = (relative > channel_floor(a.dtype, precision)) & (extent.error > smallest(a.dtype))
        if np.any(beyond):
            channel = int(np.argmax(np.where(beyond, relative, -1)))
            doubts.append(Doubt(record, _at_channel(a, b, extent.axis, channel), channel, beyond, extent))
    return doubts


def is_noise(doubt: Doubt, a: object, moved: Sequence[object]) -> bool:
    """Whether the original's own noise explains, or drowns, what is doubtful: where it moves with its inputs."""
    if doubt.extent is None or not isinstance(a, np.ndarray):
        return any(found.problem or found.error > 0 for other in moved for found in differences(a, other))
    own = np.zeros_like(doubt.extent.error)
    for other in (other for other in moved if isinstance(other, np.ndarray)):
        if other.shape != a.shape or non_finite_difference(a, other):
            return True
        own = np.maximum(own, extent_along(doubt.extent.axis, a, other).error)
    return bool(np.all(doubt.extent.error[doubt.beyond] <= NOISE_FACTOR * own[doubt.beyond]))


def noise_at(a: object, moved: Sequence[object], channel: int | None) -> float:
    """The original's noise in one channel, in units of its largest value; NaN where that is not known."""
    levels = []
    for other in (other for other in moved if isinstance(other, np.ndarray)):
        if not isinstance(a, np.ndarray) or a.dtype not in FLOATS:
            return math.nan
        if other.shape != a.shape or non_finite_difference(a, other):
            return math.inf
        extent = extents(a, other)[0]
        relative = ratios(extent.error, extent.scale)
        levels.append(float(relative[channel or 0]) if relative.size else 0.0)
    return max(levels, default=math.nan)


def _limit(found: Difference) -> float:
    return LIMITS.get(found.dtype, EXACT).floor


def _at_channel(a: Array, b: Array, axis: int | None, channel: int) -> str:
    """The two values that are furthest apart in a channel."""
    left = a if axis is None else np.take(a, channel, axis=axis)
    right = b if axis is None else np.take(b, channel, axis=axis)
    place = np.unravel_index(np.argmax(np.abs(right.astype(np.float64) - left.astype(np.float64))), left.shape)
    which = "" if axis is None else f"channel {channel} "
    return f"{which}differs: {float(right[place]):.9g} against {float(left[place]):.9g} in the original"
