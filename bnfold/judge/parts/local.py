"""Each place where two models part, judged by itself: both parts cut out and run on equal inputs."""

import math
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import ClassVar

import numpy as np

from bnfold.errors import VerificationError
from bnfold.judge.channels import Array, eps
from bnfold.judge.compare import FLOATS
from bnfold.judge.parts.excerpt import AS_STORED, TO_SINGLE, Excerpt
from bnfold.judge.parts.finding import LocalFinding, incomparable, incomparable_because
from bnfold.judge.parts.impulses import Readable, Response, alike, impulses, read_bias, read_weights, readable
from bnfold.judge.parts.laws import Law, appeal, can_vouch, judge_by
from bnfold.judge.parts.limits import Places, Slopes
from bnfold.judge.parts.moves import moved_by_one, moved_within
from bnfold.judge.parts.rounding import RoundedPlaces, RoundedSlopes, SlopesTogether
from bnfold.judge.parts.truth import exact_values
from bnfold.judge.sessions import Session
from bnfold.judge.sites import Site
from bnfold.judge.structure import Structure, same_parameter

Values = Mapping[str, Array]

# One random move may leave a channel where it was.
_MOVES = 3
# What another implementation in float64 may be off from the original: four times what a place may.
_BELIEVED = 64.0


class LocalJudge:
    """Runs parts of two models side by side: two small sessions for any number of inputs.

    Args:
        original, new: the models.
        sites: no site whose part gives other values each time.
        like: tensors of the boundaries, of the shapes and types that all values will have.
    """

    def __init__(self, original: Structure, new: Structure, sites: Sequence[Site], like: Values) -> None:
        kinds: dict[type[_Bench], list[Site]] = {_WideBench: [], _NarrowBench: []}
        for site in sites:
            narrow = any(_is_narrow(new, index) for index in site.new)
            kinds[_NarrowBench if narrow else _WideBench].append(site)
        self._benches = [kind(original, new, of_kind, like) for kind, of_kind in kinds.items() if of_kind]

    def judge(self, values: Values, random: Container[str] = ()) -> dict[str, LocalFinding]:
        """Judge all sites on given inputs.

        Args:
            values: of every tensor in their boundaries.
            random: those whose values are independent of each other. Only parts that begin with one are judged by
                slopes as well: elsewhere places may repeat each other, and so do their rounding errors.

        Returns:
            A finding by tensor for each site with floating-point values whose parts run; none for the others.
        """
        waiting, self._benches = self._benches, []
        findings: dict[str, LocalFinding] = {}
        while waiting:
            bench = waiting.pop()
            found = bench.judge(values, random)
            if found is None and bench.size > 1:
                waiting += bench.halves()
            else:
                self._benches.append(bench)
                findings |= {finding.tensor: finding for finding in found or ()}
        return findings

    def read(self, like: Values) -> list[LocalFinding]:
        """What the single weights of half precision say, where they can be read.

        Args:
            like: tensors of the boundaries.
        """
        return [finding for bench in self._benches for finding in bench.read(like)]


class _Bench:
    """Some sites cut out of both models, in one precision."""

    precision: ClassVar[Mapping[int, int]] = AS_STORED
    moves_the_original: ClassVar[bool] = True

    def __init__(self, original: Structure, new: Structure, sites: Sequence[Site], like: Values) -> None:
        self._original, self._new, self._sites, self._like = original, new, sites, like
        ours, theirs = Excerpt(original, self.precision), Excerpt(new, self.precision)
        self._names = [self._add(site, number, ours, theirs) for number, site in enumerate(sites)]
        self._ours, self._theirs = _Running("the original", ours, like), _Running("the new model", theirs, like)

    def _add(self, site: Site, number: int, ours: Excerpt, theirs: Excerpt) -> tuple[str, str, list[str]]:
        """The original's tensor, the new one's, and moved ones."""
        raise NotImplementedError

    @property
    def size(self) -> int:
        """How many sites."""
        return len(self._sites)

    def halves(self) -> "list[_Bench]":
        """Two benches in place of one whose parts do not run together: one part must not spoil the others."""
        middle = self.size // 2
        sides = (self._sites[:middle], self._sites[middle:])
        return [type(self)(self._original, self._new, side, self._like) for side in sides]

    def _u(self, site: Site, a: Array) -> float:
        return eps(a.dtype) * math.sqrt(_depth(self._original, site))

    def judge(self, values: Values, random: Container[str]) -> list[LocalFinding] | None:
        """As LocalJudge.judge; None where the parts do not run."""
        ours, theirs = self._ours.run(values), self._theirs.run(values)
        if not ours or not theirs:
            return None
        moving = ours if self.moves_the_original else theirs
        findings = []
        for site, (a, b, moved) in zip(self._sites, self._names, strict=True):
            left, right = ours[a], theirs[b]
            if not isinstance(left, np.ndarray) or left.dtype not in FLOATS:
                continue
            problem = incomparable_because(left, right)
            if problem:
                findings.append(incomparable(site.tensor, problem))
            else:
                others = [moving[name] for name in moved]
                is_random = any(name in random for name in site.boundary)
                findings.append(self.judge_site(site, values, (left, right, others), random=is_random))
        return findings

    def read(self, like: Values) -> list[LocalFinding]:  # noqa: ARG002 - those of higher precision have nothing to say
        """As LocalJudge.read."""
        return []

    def judge_site(
        self, site: Site, values: Values, seen: tuple[Array, Array, list[Array]], *, random: bool
    ) -> LocalFinding:
        """Judge one site.

        Args:
            site: the site.
            values: what its parts were fed with.
            seen: what they made: the original's, the new one's, the moved ones.
            random: whether they were fed with random values.
        """
        raise NotImplementedError


class _WideBench(_Bench):
    """Parts whose parameters are of the precision that they compute in: the original's moves by one ulp."""

    def _add(self, site: Site, number: int, ours: Excerpt, theirs: Excerpt) -> tuple[str, str, list[str]]:
        plain = ours.add(site, site.original, number)
        moves = (moved_by_one(self._original, site.original, seed) for seed in range(_MOVES))
        moved = [ours.add_moved(site, site.original, number, f"~{way}", move) for way, move in enumerate(moves)]
        return plain, theirs.add(site, site.new, number), moved

    def judge_site(
        self, site: Site, values: Values, seen: tuple[Array, Array, list[Array]], *, random: bool
    ) -> LocalFinding:
        """By the arithmetic's limits, and in doubt by the same part in float64."""
        a, b, moved = seen
        laws = (Places(), Slopes()) if random else (Places(),)
        u = self._u(site, a)
        finding = judge_by(laws, site.tensor, a, b, moved, u)
        if finding.excess <= 1:
            return finding
        exact = exact_values(self._original, site, values)
        if exact is None or not can_vouch(exact, a, _BELIEVED * u):
            return finding
        return appeal(laws, finding, a, b, exact, u)


class _NarrowBench(_Bench):
    """Parts with half-precision parameters, computed in float32: the new one's moves within its rounding."""

    precision = TO_SINGLE
    moves_the_original = False

    def _add(self, site: Site, number: int, ours: Excerpt, theirs: Excerpt) -> tuple[str, str, list[str]]:
        names = {name for index in site.new for name in self._new.reads(index)}
        unchanged = {name for name in names if same_parameter(self._original, self._new, name, name)}
        plain = theirs.add(site, site.new, number)
        moves = (moved_within(self._new, site.new, unchanged, seed) for seed in range(_MOVES))
        moved = [theirs.add_moved(site, site.new, number, f"~{way}", move) for way, move in enumerate(moves)]
        return ours.add(site, site.original, number), plain, moved

    def judge_site(
        self, site: Site, _values: Values, seen: tuple[Array, Array, list[Array]], *, random: bool
    ) -> LocalFinding:
        """By what rounding once does."""
        a, b, moved = seen
        laws: list[Law] = [RoundedPlaces(3 if random else 10)]
        if random and readable(site, self._new) is None:  # what is read number by number needs no statistics
            laws += [RoundedSlopes(), SlopesTogether()]
        return judge_by(laws, site.tensor, a, b, moved, self._u(site, a))

    def read(self, like: Values) -> list[LocalFinding]:
        """Judge the weights one by one where they can be read."""
        sites = alike([entry for site in self._sites if (entry := readable(site, self._new)) is not None])
        if not sites:
            return []
        quiet = {name: np.zeros_like(values) if values.dtype in FLOATS else values for name, values in like.items()}
        base_a, base_b = self._ours.run(quiet), self._theirs.run(quiet)
        if not base_a or not base_b:
            return []
        names = {site.tensor: (a, b) for site, (a, b, _) in zip(self._sites, self._names, strict=True)}
        findings = [self._read_bias(entry, quiet, base_a, base_b, *names[entry.site.tensor]) for entry in sites]
        for sources in _both_signs(impulses(sites, like), any(entry.bends for entry in sites)):
            once = {**quiet, **sources}
            twice = {**quiet, **{name: 2 * values for name, values in sources.items()}}
            ours = self._ours.run(once), self._ours.run(twice)
            theirs = self._theirs.run(once), self._theirs.run(twice)
            for entry in sites if all((*ours, *theirs)) else ():
                a, b = names[entry.site.tensor]
                original, new = Response(*(run[a] for run in ours)), Response(*(run[b] for run in theirs))
                findings.append(read_weights(entry, original, new))
        return findings

    def _read_bias(
        self, entry: Readable, quiet: Values, ours: Mapping[str, Array], theirs: Mapping[str, Array], a: str, b: str
    ) -> LocalFinding:
        finding = read_bias(entry, ours[a], theirs[b])
        exact = exact_values(self._original, entry.site, quiet) if finding.what else None
        return finding if exact is None else read_bias(entry, exact, theirs[b])


class _Running:
    """An excerpt with its session, if it loads."""

    def __init__(self, role: str, excerpt: Excerpt, like: Values) -> None:
        self._excerpt = excerpt
        self._session: Session | None = None
        with suppress(VerificationError):
            self._session = Session(excerpt.build(role, like))

    def run(self, values: Values) -> dict[str, Array]:
        """The outputs by name; none where the excerpt does not run by itself."""
        if self._session is None:
            return {}
        try:
            outputs = self._session.run(self._excerpt.feeds(values))
        except VerificationError:
            return {}
        return {port.name: array for port, array in zip(self._session.signature.outputs, outputs, strict=True)}  # type: ignore[misc]


def _both_signs(sources: Iterable[dict[str, Array]], bends: bool) -> Iterator[dict[str, Array]]:
    """Each input, and where something bends its negative as well."""
    for values in sources:
        yield values
        if bends:
            yield {name: -array for name, array in values.items()}


def _depth(graph: Structure, site: Site) -> int:
    return max(1, sum(graph.nodes[index].output[0] not in graph.constants for index in site.original))


def _is_narrow(graph: Structure, index: int) -> bool:
    tensors = (graph.parameter(name) for name in graph.reads(index))
    return any(tensor is not None and tensor.data_type in TO_SINGLE for tensor in tensors)
