"""How far two parts may be apart on equal inputs: laws, each of them one measure of every channel."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np

from bnfold.verifier.compare.arrays import non_finite_difference
from bnfold.verifier.compare.channels import Array, channel_axes, finite, in_channels, largest, smallest
from bnfold.verifier.local.finding import LocalFinding, finding_at, nothing_found


@dataclass(frozen=True)
class Seen:
    """One tensor, made in two ways, along one axis.

    Attributes:
        a: what the original's part makes, (channels, places).
        b: what the new part makes.
        moved: what one of the two makes with parameters that are moved by rounding.
        u: the distance from 1 to the next number of the type that limits both.
        smallest: differences below it say nothing.
    """

    a: Array
    b: Array
    moved: tuple[Array, ...]
    u: float
    smallest: float = 0.0


class Law(Protocol):
    """One measure of how far b is from a."""

    def excess(self, seen: Seen) -> Array:
        """How far in units of what is allowed, by channel."""

    def describe(self, seen: Seen, channel: int) -> str:
        """What is wrong with a channel whose excess is more than 1."""


class LawWithAppeal(Law, Protocol):
    """A measure that knows another standard as well."""

    def appeal(self, seen: Seen, exact: Array) -> Array:
        """How far b is from the exact values, in units of what is allowed given how far a is."""


def judge_by(laws: Sequence[Law], tensor: str, a: Array, b: Array, moved: Sequence[Array], u: float) -> LocalFinding:
    """The worst of all channels by all laws.

    Args:
        laws: at least one.
        tensor: its name.
        a: the original's.
        b: the new model's; NaN and infinities stand where they are in a.
        moved: as in Seen.
        u: likewise.
    """
    worst = nothing_found(tensor)
    for axis in channel_axes(a.ndim) or (None,):
        seen = _along(axis, a, b, moved, u, smallest(a.dtype))
        for law in laws if seen.a.size else ():
            excess = law.excess(seen)
            channel = int(np.argmax(excess))
            if excess[channel] >= worst.excess:
                what = law.describe(seen, channel)
                worst = finding_at(tensor, axis, channel, seen.a, seen.b, float(excess[channel]), what)
    return worst


def appeal(
    laws: Sequence[LawWithAppeal], finding: LocalFinding, a: Array, b: Array, exact: Array, u: float
) -> LocalFinding:
    """The finding in the light of exact values.

    Args:
        laws: by which it was found.
        finding: what was found.
        a: the original's.
        b: the new model's.
        exact: what the original's part makes in float64.
        u: as in Seen.
    """
    worst, nearer = 0.0, "new"
    for axis in channel_axes(a.ndim) or (None,):
        seen = _along(axis, a.astype(np.float64), b.astype(np.float64), (), u, smallest(a.dtype))
        truth = finite(in_channels(exact, axis))
        worst = max([worst, *(float(np.max(law.appeal(seen, truth), initial=0)) for law in laws)])
        if np.max(largest(seen.b - truth), initial=0) > np.max(largest(seen.a - truth), initial=0):
            nearer = "original"
    return replace(finding, excess=worst, what=finding.what if worst > 1 else "", nearer=nearer)


def can_vouch(exact: Array, a: Array, allowed: float) -> bool:
    """Whether exact values are near enough to the original's to be believed: they come from another implementation.

    Args:
        exact: in float64.
        a: the original's.
        allowed: in units of the largest of all values.
    """
    if exact.shape != a.shape or non_finite_difference(a, exact):
        return False
    left, truth = finite(in_channels(a, None)), finite(in_channels(exact, None))
    return bool(np.all(largest(truth - left) <= allowed * largest(left)))


def _along(axis: int | None, a: Array, b: Array, moved: Sequence[Array], u: float, floor: float) -> Seen:
    left, right, *others = (finite(in_channels(values, axis)) for values in (a, b, *moved))
    return Seen(left, right, tuple(others), u, floor)
