"""Parts of two models side by side: two small sessions for any number of inputs."""

import math
from collections.abc import Callable, Container, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import ClassVar

import numpy as np

from bnfold.verifier.compare.arrays import FLOATS
from bnfold.verifier.compare.channels import Array, eps
from bnfold.verifier.compare.precision import coarsest_within
from bnfold.verifier.local.finding import LocalFinding, incomparable, incomparable_because, nothing_found
from bnfold.verifier.local.running import Running
from bnfold.verifier.models.changed import Site
from bnfold.verifier.models.graph import Structure
from bnfold.verifier.models.subgraph import AS_STORED, Excerpt
from bnfold.verifier.run.parallel import side_by_side
from bnfold.verifier.run.taming import smaller

Values = Mapping[str, Array]


class Bench:
    """Some sites cut out of both models, in one precision."""

    precision: ClassVar[Mapping[int, int]] = AS_STORED

    def __init__(self, original: Structure, new: Structure, sites: Sequence[Site], like: Values) -> None:
        self._original, self._new, self._sites, self._like = original, new, sites, like
        ours, theirs = Excerpt(original, self.precision), Excerpt(new, self.precision)
        self._names = [self._add(site, number, ours, theirs) for number, site in enumerate(sites)]
        self._ours, self._theirs = Running("the original", ours, like), Running("the new model", theirs, like)

    def _add(self, site: Site, number: int, ours: Excerpt, theirs: Excerpt) -> tuple[str, str, list[str]]:
        """The original's tensor, the new one's, and moved ones."""
        raise NotImplementedError

    @property
    def size(self) -> int:
        """How many sites."""
        return len(self._sites)

    def halves(self) -> "list[Bench]":
        """Two benches in place of one whose parts do not run together: one part must not spoil the others."""
        middle = self.size // 2
        sides = (self._sites[:middle], self._sites[middle:])
        return [type(self)(self._original, self._new, side, self._like) for side in sides]

    def _u(self, site: Site, a: Array) -> float:
        dtype = coarsest_within((self._original.nodes[index] for index in site.original), a.dtype)
        return eps(dtype) * math.sqrt(_operators(self._original, site))

    def judge(self, values: Values, random: Container[str]) -> list[LocalFinding] | None:
        """As LocalJudge.judge; None where the parts do not run.

        Where the original's part overflows on random values, and the new one not in the same places, smaller ones tell.
        """
        findings = self._judge_once(values, random)
        if findings is None:
            return None
        for _, others in smaller(values, [name for name in values if name in random]):
            overflowing = {tensor for tensor, finding in findings.items() if finding.overflows}
            again = self._judge_once(others, random) if overflowing else None
            if again is None:
                break
            findings |= {tensor: again[tensor] for tensor in overflowing}
        return list(findings.values())

    def _judge_once(self, values: Values, random: Container[str]) -> dict[str, LocalFinding] | None:
        ours, theirs = side_by_side(lambda: self._ours.run(values), lambda: self._theirs.run(values))
        if not ours or not theirs:
            return None
        moved = self._moved(values, ours, theirs)
        findings = []
        for site, (a, b, _), others in zip(self._sites, self._names, moved, strict=True):
            left, right = ours[a], theirs[b]
            if not isinstance(left, np.ndarray) or left.dtype not in FLOATS:
                findings += _exactly(site, left, right)
                continue
            problem = incomparable_because(left, right)
            if problem:
                overflows = not np.isfinite(left).all()
                findings.append(replace(incomparable(site.tensor, problem), overflows=overflows))
            else:
                is_random = any(name in random for name in site.boundary)
                findings.append(self.judge_site(site, values, (left, right, others), random=is_random))
        return {finding.tensor: finding for finding in findings}

    def _moved(self, values: Values, ours: Values, theirs: Values) -> list[list[Array]]:  # noqa: ARG002
        """What moved parts make, site by site. Here those are the original's.

        Args:
            values: what the parts were fed with.
            ours: what was made of them by the original's.
            theirs: by the new model's.
        """
        return [[ours[name] for name in moved] for _, _, moved in self._names]

    def _on_moved_inputs(
        self, site: Site, values: Values, move: Callable[[Values, int], Values], times: int
    ) -> Iterator[tuple[int, Array]]:
        """What the original's part, as it is stored, makes of moved values where it begins.

        Args:
            site: the site.
            values: of its boundary.
            move: moves them in the n-th way, from 0.
            times: how many ways.

        Yields:
            The number of each way that the part takes, and what it makes.
        """
        excerpt = Excerpt(self._original)
        name = excerpt.add(site, site.original, 0)
        part = Running("the original", excerpt, values)
        begin = {boundary: values[boundary] for boundary in site.boundary}
        for number in range(times):
            run = part.run(move(begin, number))
            if run:
                yield number, run[name]

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


def _exactly(site: Site, left: object, right: object) -> list[LocalFinding]:
    """Of integers and the like: that they are equal. If they are not, what they are made of may have been rounded."""
    equal = isinstance(left, np.ndarray) and isinstance(right, np.ndarray) and np.array_equal(left, right)
    return [nothing_found(site.tensor)] if equal else []


def _operators(graph: Structure, site: Site) -> int:
    return max(1, sum(graph.nodes[index].output[0] not in graph.constants for index in site.original))
