"""Each place where two models part, judged by itself: both parts cut out and run on equal inputs."""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import ClassVar

import numpy as np

from bnfold.errors import VerificationError
from bnfold.judge.channels import Array
from bnfold.judge.compare import FLOATS
from bnfold.judge.excerpt import AS_STORED, TO_SINGLE, Excerpt
from bnfold.judge.finding import LocalFinding, compare_by, incomparable, incomparable_because
from bnfold.judge.limits import Limits, appeal
from bnfold.judge.model import Model
from bnfold.judge.moves import moved_by_one, moved_within
from bnfold.judge.rounding import compare_rounding
from bnfold.judge.sessions import Session
from bnfold.judge.sites import Site
from bnfold.judge.structure import Structure, same_parameter
from bnfold.judge.tolerance import OwnTolerance
from bnfold.judge.truth import exact_values

Values = Mapping[str, Array]

# One random move may leave a channel where it was.
_MOVES = 2


class LocalJudge:
    """Runs parts of two models side by side: two small sessions for any number of inputs.

    Args:
        original, new: the models.
        sites: no site whose part gives other values each time.
        like: tensors of the boundaries, of the shapes and types that all values will have.
        tolerance: the caller's own, in place of the limits above; None for those.
    """

    def __init__(
        self,
        original: Structure,
        new: Structure,
        sites: Sequence[Site],
        like: Values,
        tolerance: OwnTolerance | None = None,
    ) -> None:
        narrow = {site.tensor for site in sites if any(_is_narrow(new, index) for index in site.new)}
        wide = [site for site in sites if site.tensor not in narrow]
        self._benches: list[_Bench] = []
        if wide:
            self._benches.append(_WideBench(original, new, wide, like, tolerance))
        if narrow:
            halves = [site for site in sites if site.tensor in narrow]
            self._benches.append(_NarrowBench(original, new, halves, like, tolerance))

    def judge(self, values: Values) -> dict[str, LocalFinding]:
        """Judge all sites on given inputs.

        Args:
            values: of every tensor in their boundaries.

        Returns:
            A finding by tensor for each site with floating-point values whose parts run; none for the others.
        """
        return {finding.tensor: finding for bench in self._benches for finding in bench.judge(values)}


class _Bench:
    """Some sites cut out of both models, in one precision."""

    precision: ClassVar[Mapping[int, int]] = AS_STORED
    moves_the_original: ClassVar[bool] = True

    def __init__(
        self, original: Structure, new: Structure, sites: Sequence[Site], like: Values, tolerance: OwnTolerance | None
    ) -> None:
        self._original, self._new, self._sites, self._tolerance = original, new, sites, tolerance
        ours, theirs = Excerpt(original, self.precision), Excerpt(new, self.precision)
        self._names = [self._add(site, number, ours, theirs) for number, site in enumerate(sites)]
        self._ours, self._theirs = _Running("the original", ours, like), _Running("the new model", theirs, like)

    def _add(self, site: Site, number: int, ours: Excerpt, theirs: Excerpt) -> tuple[str, str, list[str]]:
        """The original's tensor, the new one's, and moved ones."""
        raise NotImplementedError

    def _compare(self, site: Site, values: Values, a: Array, b: Array, moved: Sequence[Array]) -> LocalFinding:
        raise NotImplementedError

    def judge(self, values: Values) -> list[LocalFinding]:
        ours, theirs = self._ours.run(values), self._theirs.run(values)
        if not ours or not theirs:
            return []
        moving = ours if self.moves_the_original else theirs
        findings = []
        for site, (a, b, moved) in zip(self._sites, self._names, strict=True):
            left, right = ours[a], theirs[b]
            if not isinstance(left, np.ndarray) or left.dtype not in FLOATS:
                continue
            problem = incomparable_because(left, right)
            if problem:
                findings.append(incomparable(site.tensor, problem))
            elif self._tolerance is not None:
                findings.append(compare_by(self._tolerance, site.tensor, left, right))
            else:
                findings.append(self._compare(site, values, left, right, [moving[name] for name in moved]))
        return findings


class _WideBench(_Bench):
    """Parts whose parameters are of the precision that they compute in: the original's moves by one ulp."""

    def _add(self, site: Site, number: int, ours: Excerpt, theirs: Excerpt) -> tuple[str, str, list[str]]:
        plain = ours.add(site, site.original, number)
        moves = (moved_by_one(self._original, site.original, seed) for seed in range(_MOVES))
        moved = [ours.add_moved(site, site.original, number, f"~{way}", move) for way, move in enumerate(moves)]
        return plain, theirs.add(site, site.new, number), moved

    def _compare(self, site: Site, values: Values, a: Array, b: Array, moved: Sequence[Array]) -> LocalFinding:
        limits = Limits(a, moved, _depth(self._original, site))
        finding = limits.compare(site.tensor, b)
        if finding.excess <= 1 or not np.isfinite(finding.excess):
            return finding
        truth = exact_values(self._original, site, values)
        if truth is None or not limits.vouch_for(truth):
            return finding
        return appeal(finding, a, b, truth)


class _NarrowBench(_Bench):
    """Parts with half-precision parameters, computed in float32: the new one's moves within its rounding."""

    precision = TO_SINGLE
    moves_the_original = False

    def _add(self, site: Site, number: int, ours: Excerpt, theirs: Excerpt) -> tuple[str, str, list[str]]:
        names = {name for index in site.new for name in self._new.reads(index)}
        unchanged = {name for name in names if same_parameter(self._original, self._new, name, name)}
        plain = theirs.add(site, site.new, number)
        moved = theirs.add_moved(site, site.new, number, "~", moved_within(self._new, site.new, unchanged))
        return ours.add(site, site.original, number), plain, [moved]

    def _compare(self, site: Site, _values: Values, a: Array, b: Array, moved: Sequence[Array]) -> LocalFinding:
        return compare_rounding(site.tensor, a, b, moved[0])


class _Running:
    """An excerpt with its session, if it loads."""

    def __init__(self, role: str, excerpt: Excerpt, like: Values) -> None:
        self._excerpt = excerpt
        self._session: Session | None = None
        with suppress(VerificationError):
            self._session = Session(Model(role, excerpt.build(like)))

    def run(self, values: Values) -> dict[str, Array]:
        """The outputs by name; none where the excerpt does not run by itself."""
        if self._session is None:
            return {}
        try:
            outputs = self._session.run(self._excerpt.feeds(values))
        except VerificationError:
            return {}
        return {port.name: array for port, array in zip(self._session.signature.outputs, outputs, strict=True)}  # type: ignore[misc]


def _depth(graph: Structure, site: Site) -> int:
    return max(1, sum(graph.nodes[index].output[0] not in graph.constants for index in site.original))


def _is_narrow(graph: Structure, index: int) -> bool:
    tensors = (graph.parameter(name) for name in graph.reads(index))
    return any(tensor is not None and tensor.data_type in TO_SINGLE for tensor in tensors)
