"""Parts that are networks of their own: those with bodies or functions, and deep ones."""

from collections.abc import Iterator
from functools import cached_property
from typing import Any

import numpy as np

from bnfold.judge.channels import Array
from bnfold.judge.grain import coarsest_float
from bnfold.judge.moved_weights import noise_of_step, step_of
from bnfold.judge.noise import MOST_ROUNDINGS, moved_by_last_bit
from bnfold.judge.parts.bench import Bench, Values
from bnfold.judge.parts.excerpt import Excerpt
from bnfold.judge.parts.finding import LocalFinding, incomparable_because, nothing_found
from bnfold.judge.parts.laws import judge_by
from bnfold.judge.parts.limits import MovedInputs
from bnfold.judge.parts.running import Running
from bnfold.judge.sites import Site
from bnfold.judge.tolerance import channel_floor


class NetworkBench(Bench):
    """Parts in which rounding errors grow: judged like networks, by how far moved inputs move them."""

    def _add(self, site: Site, number: int, ours: Excerpt, theirs: Excerpt) -> tuple[str, str, list[str]]:
        return ours.add(site, site.original, number), theirs.add(site, site.new, number), []

    def _moved(self, values: Values, ours: Values, theirs: Values) -> list[list[Array]]:  # noqa: ARG002
        runs = [self._ours.run(moved_by_last_bit(values, direction, self._grain)) for direction in (1, -1)]
        return [[run[a] for run in runs if run] for a, _, _ in self._names]

    @cached_property
    def _grain(self) -> "np.dtype[Any]":
        return coarsest_float(self._original.model)

    def judge_site(
        self,
        site: Site,
        values: Values,
        seen: tuple[Array, Array, list[Array]],
        *,
        random: bool,  # noqa: ARG002
    ) -> LocalFinding:
        """By what moved inputs do. Where these change what is infinite or how much there is, nothing can be said."""
        a, b, moved = seen
        if not moved or any(incomparable_because(a, other) for other in moved):
            return nothing_found(site.tensor)
        laws = [MovedInputs(channel_floor(a.dtype, self._grain))]
        finding = judge_by(laws, site.tensor, a, b, moved, self._u(site, a))
        if finding.excess <= 1:
            return finding
        for rounding, other in self._in_doubt(site, values):
            if incomparable_because(a, other):
                return nothing_found(site.tensor)
            moved = [*moved, _as_one_step(a, other, step_of(rounding), moved)]
        return judge_by(laws, site.tensor, a, b, moved, self._u(site, a))

    def _in_doubt(self, site: Site, values: Values) -> Iterator[tuple[int, Array]]:
        """What the original's part makes of inputs moved in other directions, and further."""
        excerpt = Excerpt(self._original)
        name = excerpt.add(site, site.original, 0)
        part = Running("the original", excerpt, values)
        inputs = {boundary: values[boundary] for boundary in site.boundary}
        for rounding in range(MOST_ROUNDINGS):
            run = part.run(moved_by_last_bit(inputs, 1, self._grain, rounding + 1, step_of(rounding)))
            if run:
                yield rounding, run[name]


def _as_one_step(a: Array, other: Array, step: int, moved: list[Array]) -> Array:
    """What one step would have made, judging by several: as far from a."""
    noise = np.max([np.abs(known - a) for known in moved], axis=0)
    return np.asarray(a + noise_of_step(np.abs(other - a), step, np.max(noise)), a.dtype)
