"""Half-precision weights read one by one, from outside: each was rounded once, or it was not.

A single 256 among zeros brings single weights of a convolution or a matrix product to the output: every other product
is zero, and the bias is what zeros alone make. Behind a Relu, 256 and 512 are compared, where it lets both through. The
original's part, computed in float32, says what the weight should be to seven digits; the new one's says what is stored.
A weight that was rounded once is within half a unit of its last place, and so is a bias, which zeros alone bring out.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import ml_dtypes
import numpy as np

from bnfold.verifier.compare.channels import Array, eps, ratios
from bnfold.verifier.local.finding import LocalFinding
from bnfold.verifier.local.impulses import HEIGHT, Impulses
from bnfold.verifier.local.moves import moved_by_one, units
from bnfold.verifier.local.readable import Readable
from bnfold.verifier.local.running import Running
from bnfold.verifier.models.graph import Structure
from bnfold.verifier.models.subgraph import TO_SINGLE, Excerpt

# Half a unit, and what the original's own rounding in float32 may blur.
_HALF = 0.505
_BLUR = 16.0
_NOISE = 8.0
_MOVES = 8
# Numbers of a source that is made longer, so that more impulses have room: 16 MB of float32.
_LARGEST_SOURCE = 2**22


def read_weights(entry: Readable, original: Structure, new: Structure, like: Array) -> list[LocalFinding]:
    """Whether every weight that comes out was rounded once: a finding for each run of the parts.

    Args:
        entry: the site.
        original: the original.
        new: the new model.
        like: real values of its source, for shape and type. Its first axis is made longer if the parts take that.
    """
    for impulses in _longest_first(entry, like):
        findings = _Reading(entry, original, new, impulses).findings()
        if findings:
            return findings
    return []


def _longest_first(entry: Readable, like: Array) -> Iterator[Impulses]:
    """Impulses in a source of many rows, and in one as long as it is in the model."""
    plain = Impulses.of(entry, like)
    if plain is None:
        return
    room = max(1, _LARGEST_SOURCE // max(1, like.size))
    times = min(room, plain.runs)
    longer = Impulses.of(entry, np.repeat(like, times, axis=0)) if times > 1 else None
    if longer is not None:
        yield longer
    yield plain


@dataclass(frozen=True)
class _Response:
    """What one part makes, in float32, of two inputs between which nothing but the height of impulses changes."""

    low: Array
    high: Array

    @property
    def weights(self) -> Array:
        """The weights that come out."""
        with np.errstate(invalid="ignore"):  # of infinities
            return (self.high - self.low) / HEIGHT

    @property
    def bent(self) -> Array:
        """Where the two lie on different sides of zero, or one on it."""
        return self.low * self.high <= 0


def _respond(part: Running, names: Sequence[str], source: str, pair: tuple[Array, Array]) -> list[_Response]:
    """For each output; none where the part does not run."""
    low, high = (part.run({source: values}) for values in pair)
    return [_Response(low[name], high[name]) for name in names] if low and high else []


class _Reading:
    """Both parts of a site, on impulses."""

    def __init__(self, entry: Readable, original: Structure, new: Structure, impulses: Impulses) -> None:
        self._entry, self._original, self._new, self._impulses = entry, original, new, impulses
        site = entry.site
        ours, theirs = Excerpt(original, TO_SINGLE), Excerpt(new, TO_SINGLE)
        self._a, self._b = ours.add(site, site.original, 0), theirs.add(site, site.new, 0)
        self._unit = theirs.add_moved(site, site.new, 0, "~unit", units(new, site.new)) if entry.adds else self._b
        self._ours, self._theirs = self._running(ours), self._running(theirs)

    def _running(self, excerpt: Excerpt) -> Running:
        return Running("a part", excerpt, {self._entry.source: self._impulses.like})

    def findings(self) -> list[LocalFinding]:
        """By one run for each set of impulses; none where one of the parts does not take them."""
        findings = []
        for pair in self._impulses.pairs():
            ours = _respond(self._ours, [self._a], self._entry.source, pair)
            theirs = _respond(self._theirs, [self._b, self._unit], self._entry.source, pair)
            if not ours or not theirs:
                return []
            finding = _judge(self._entry, ours[0], *theirs)
            if finding.what:
                finding = _judge(self._entry, ours[0], *theirs, noise=self._noise(ours[0], pair))
            findings.append(finding)
        return findings

    @cached_property
    def _moved(self) -> tuple[Running, list[str]]:
        """The original's part with moved scales and shifts, and its outputs; made in doubt only."""
        site, excerpt = self._entry.site, Excerpt(self._original, TO_SINGLE)
        excerpt.add(site, site.original, 0)
        moves = (moved_by_one(self._original, site.original, seed, TO_SINGLE) for seed in range(_MOVES))
        names = [excerpt.add_moved(site, site.original, 0, f"~{seed}", move) for seed, move in enumerate(moves)]
        return self._running(excerpt), names

    def _noise(self, plain: _Response, pair: tuple[Array, Array]) -> Array:
        """How far the original's scales and shifts, moved by one unit of float32, move what comes out of it.

        Where impulses meet a shift, all channels have one: what comes out may be a small difference of large sums.
        """
        part, names = self._moved
        moved = _respond(part, names, self._entry.source, pair)
        errors = [np.maximum(np.abs(other.low - plain.low), np.abs(other.high - plain.high)) for other in moved]
        return np.asarray(np.max([np.zeros_like(plain.low), *errors], axis=0))


def _judge(
    entry: Readable, original: _Response, new: _Response, unit: _Response, *, noise: Array | float = 0.0
) -> LocalFinding:
    """Whether every weight that came out was rounded once; of a sum, whether each of them may have been."""
    should, stored = original.weights, new.weights
    blur = _BLUR * eps(should.dtype) * (np.abs(should) + np.abs(original.low) / HEIGHT) + _NOISE * noise / HEIGHT
    if entry.bends:  # where the bend lies between the two heights, something else comes out
        bent = original.bent | new.bent
        should, stored = np.where(bent, 0, should), np.where(bent, 0, stored)
    allowed = _HALF * (unit.weights if entry.adds else _unit(should, entry.dtype)) + blur
    return _within(entry, should, stored, allowed, "has a weight that was not rounded once")


def read_bias(entry: Readable, exact: Array, base_b: Array) -> LocalFinding:
    """Whether the bias was rounded once.

    Args:
        entry: the site.
        exact: what the original's part makes of zeros.
        base_b: what the new part makes of them.
    """
    allowed = _HALF * _unit(exact, entry.dtype) + _BLUR * eps(np.dtype(np.float32)) * np.abs(exact)
    return _within(entry, exact, base_b, allowed, "has a bias that was not rounded once")


def _within(entry: Readable, should: Array, stored: Array, allowed: Array, what: str) -> LocalFinding:
    should, stored = should.astype(np.float64), stored.astype(np.float64)
    with np.errstate(invalid="ignore"):  # of infinities, which are compared elsewhere
        excess = ratios(np.abs(stored - should), allowed)
    place = np.unravel_index(int(np.argmax(excess)), excess.shape) if excess.size else ()
    if not place:
        return LocalFinding(entry.site.tensor, 0.0, 0.0, None, 0.0, 0.0)
    axis = 1 if entry.windows else -1
    worst, left, right = float(excess[place]), float(should[place]), float(stored[place])
    error = abs(right - left) / abs(left) if left else 0.0
    return LocalFinding(entry.site.tensor, worst, error, int(place[axis]), left, right, what if worst > 1 else "")


def _unit(values: Array, dtype: "np.dtype[np.generic]") -> Array:
    """The distance between neighbouring numbers of a type, at each value."""
    limits = ml_dtypes.finfo(dtype)  # type: ignore[no-untyped-call]
    magnitude = np.maximum(np.abs(values.astype(np.float64)), float(limits.smallest_normal))
    return np.asarray(np.exp2(np.floor(np.log2(magnitude))) * float(limits.eps))
