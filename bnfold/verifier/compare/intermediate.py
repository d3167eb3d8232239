"""The places where two models part, on the samples: both whole models run, the tensors there compared.

Every channel is measured by its own largest value. What is beyond the floor of its type may still be noise of what
came before: it passes within eight times the original's own noise in that channel, and else the part is cut out of
both models and judged by itself, on the values that the sample brings there (bnfold.verifier.local.local).
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from bnfold.verifier.compare.arrays import FLOATS, Difference, differences, non_finite_difference
from bnfold.verifier.compare.channels import Array, Extent, extents, ratios, smallest
from bnfold.verifier.compare.noise import Noise
from bnfold.verifier.compare.tolerance import EXACT, LIMITS, NOISE_FACTOR, OwnTolerance, channel_floor
from bnfold.verifier.local.finding import LocalFinding
from bnfold.verifier.models.changed import Site
from bnfold.verifier.result import TensorCheck
from bnfold.verifier.run.session import Feeds, Observation

Appeal = Callable[[Sequence[Site]], Mapping[str, LocalFinding]]


@dataclass
class SiteRecord:
    """What is known of one site so far."""

    site: Site
    inside: frozenset[str]
    max_rel: float = 0.0
    channel: int | None = None
    noise: float = math.nan
    excess: float = math.nan
    problem: str = ""
    failed_channel: int | None = None
    nearer: str = ""

    def fail(self, problem: str, channel: int | None = None) -> None:
        """Note what is wrong; the first problem counts."""
        if not self.problem:
            self.problem = problem
            self.failed_channel = channel

    def see_local(self, finding: LocalFinding) -> None:
        """Note what the cut-out parts say."""
        self.excess = finding.excess if math.isnan(self.excess) else max(self.excess, finding.excess)
        self.nearer = finding.nearer or self.nearer
        if finding.what:
            self.fail(str(finding), finding.channel)

    def result(self) -> TensorCheck:
        """The site's check."""
        return TensorCheck(
            name=self.site.tensor,
            inside=self.inside,
            max_rel=self.max_rel,
            channel=self.failed_channel if self.problem else self.channel,
            passed=not self.problem,
            noise_floor=self.noise,
            excess=self.excess,
            problem=self.problem,
            nearer=self.nearer,
        )


class Sample:
    """One sample at one batch of sites.

    Args:
        number: of the sample, from 0.
        where: how messages call it.
        feeds: the inputs.
        original, new: what was seen.
        find_moved: runs the original on inputs moved in one direction, 1 or -1.
        appeal: judges sites by themselves on the values of this sample.
    """

    def __init__(
        self,
        number: int,
        where: str,
        feeds: Feeds,
        original: Observation,
        new: Observation,
        find_moved: Callable[[int], Sequence[Observation]],
        appeal: Appeal,
    ) -> None:
        self.number, self.where, self.feeds = number, where, feeds
        self.original, self.new, self.appeal = original, new, appeal
        self._find_moved = find_moved

    @cached_property
    def moved_once(self) -> Sequence[Observation]:
        """The original on inputs moved in one direction, run when somebody asks."""
        return self._find_moved(1)

    @cached_property
    def moved(self) -> Sequence[Observation]:
        """The same in both directions."""
        return [*self.moved_once, *self._find_moved(-1)]


@dataclass(frozen=True)
class _Doubt:
    """A site that is beyond the floor of its type in one sample."""

    record: SiteRecord
    number: int
    extent: Extent
    beyond: Array


class Survey:
    """Compares sites sample by sample.

    Args:
        records: one per site.
        noise: of the original.
        tolerance: the caller's own; None for the defaults.
    """

    def __init__(self, records: Sequence[SiteRecord], noise: Noise, tolerance: OwnTolerance | None) -> None:
        self._records = records
        self._noise = noise
        self._tolerance = tolerance

    def see(self, sample: Sample) -> None:
        """Compare all sites in one sample."""
        doubts = []
        for record in self._records:
            a, b = (side.tensors[record.site.tensor] for side in (sample.original, sample.new))
            if isinstance(a, np.ndarray) and isinstance(b, np.ndarray) and a.dtype in FLOATS:
                doubts += self._see_floats(record, a, b, sample)
            else:
                self._see_others(record, a, b, sample)
        if doubts and self._tolerance is not None:
            _fail(doubts, sample)
        elif doubts:
            self._settle(doubts, sample)

    def measure_noise(self, sample: Sample) -> None:
        """Take the original's noise in every site's worst channel from one sample."""
        for record in self._records:
            a = sample.original.tensors[record.site.tensor]
            if isinstance(a, np.ndarray) and a.dtype in FLOATS:
                record.noise = _noise_at(a, sample.moved_once, record.site.tensor, record.channel)

    def _see_floats(self, record: SiteRecord, a: Array, b: Array, sample: Sample) -> list[_Doubt]:
        if a.dtype != b.dtype or a.shape != b.shape:
            record.fail(f"has shape {b.shape} and dtype {b.dtype} against {a.shape} and {a.dtype} in {sample.where}")
            return []
        found = extents(a, b)
        problem = "" if all(extent.finite for extent in found) else non_finite_difference(a, b)
        if problem:
            if not any(non_finite_difference(a, moved) for moved in _arrays(sample.moved, record.site.tensor)):
                record.fail(f"has {problem} in {sample.where}")
            return []
        return [
            doubt
            for number, extent in enumerate(found)
            if (doubt := self._see_extent(record, a, number, extent)) is not None
        ]

    def _see_extent(self, record: SiteRecord, a: Array, number: int, extent: Extent) -> _Doubt | None:
        relative = ratios(extent.error, extent.scale)
        if not relative.size:
            return None
        if number == 0 and np.max(relative) > record.max_rel:
            record.max_rel = float(np.max(relative))
            record.channel = None if extent.axis is None else int(np.argmax(relative))
        if self._tolerance is not None:
            beyond = self._tolerance.excess(extent.error, extent.scale) > 1
        else:
            beyond = (relative > channel_floor(a.dtype, self._noise.grain)) & (extent.error > smallest(a.dtype))
        return _Doubt(record, number, extent, beyond) if np.any(beyond) else None

    def _settle(self, doubts: Sequence[_Doubt], sample: Sample) -> None:
        """Judge doubtful sites by themselves; what cannot be cut out, by the original's noise.

        Behind a place that is known to be wrong everything differs, and says nothing of its own.
        """
        if any(record.problem for record in self._records):
            return
        findings = sample.appeal([doubt.record.site for doubt in doubts])
        for doubt in doubts:
            finding = findings.get(doubt.record.site.tensor)
            if finding is None:
                if not _is_noise(doubt, sample):
                    _fail([doubt], sample)
            elif finding.what:
                doubt.record.see_local(replace(finding, where=f"in {sample.where}"))

    def _see_others(self, record: SiteRecord, a: object, b: object, sample: Sample) -> None:
        """Integers, booleans, strings, sequences: equal, unless the original does not agree with itself there."""
        for found in differences(a, b):
            if not found.problem and found.error <= _limit(found):
                continue
            name = record.site.tensor
            moved = [d for other in sample.moved for d in differences(a, other.tensors[name])]
            if not any(d.problem or d.error > 0 for d in moved):
                what = found.problem or f"{round(found.error * found.values)} of {found.values} values differ"
                record.fail(f"has {what} in {sample.where}" if found.problem else f"{what} in {sample.where}")


def _is_noise(doubt: _Doubt, sample: Sample) -> bool:
    """Whether the original's own noise explains, or drowns, all that is beyond the floor."""
    name = doubt.record.site.tensor
    a = sample.original.tensors[name]
    assert isinstance(a, np.ndarray)
    own = np.zeros_like(doubt.extent.error)
    for moved in _arrays(sample.moved, name):
        if moved.shape != a.shape or non_finite_difference(a, moved):
            return True
        own = np.maximum(own, extents(a, moved)[doubt.number].error)
    return bool(np.all(doubt.extent.error[doubt.beyond] <= NOISE_FACTOR * own[doubt.beyond]))


def _fail(doubts: Sequence[_Doubt], sample: Sample) -> None:
    for doubt in doubts:
        relative = ratios(doubt.extent.error, doubt.extent.scale)
        channel = int(np.argmax(np.where(doubt.beyond, relative, -1)))
        name = doubt.record.site.tensor
        what = _at_channel(sample.original.tensors[name], sample.new.tensors[name], doubt.extent.axis, channel)
        doubt.record.fail(f"{what} in {sample.where}", channel)


def _limit(found: Difference) -> float:
    return LIMITS.get(found.dtype, EXACT).floor


def _arrays(seen: Sequence[Observation], name: str) -> list[Array]:
    return [value for other in seen if isinstance(value := other.tensors[name], np.ndarray)]


def _noise_at(a: Array, moved: Sequence[Observation], name: str, channel: int | None) -> float:
    """The original's noise in one channel, in units of its largest value."""
    levels = []
    for other in _arrays(moved, name):
        if other.shape != a.shape or non_finite_difference(a, other):
            return math.inf
        extent = extents(a, other)[0]
        relative = ratios(extent.error, extent.scale)
        levels.append(float(relative[channel or 0]) if relative.size else 0.0)
    return max(levels, default=math.nan)


def _at_channel(a: object, b: object, axis: int | None, channel: int) -> str:
    """The two values that are furthest apart in a channel."""
    assert isinstance(a, np.ndarray)
    assert isinstance(b, np.ndarray)
    left = a if axis is None else np.take(a, channel, axis=axis)
    right = b if axis is None else np.take(b, channel, axis=axis)
    place = np.unravel_index(np.argmax(np.abs(right.astype(np.float64) - left.astype(np.float64))), left.shape)
    which = "" if axis is None else f"channel {channel} "
    return f"{which}differs: {float(right[place]):.9g} against {float(left[place]):.9g} in the original"
