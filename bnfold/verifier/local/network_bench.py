"""Parts that are networks of their own: those with bodies or functions, and deep ones."""

from functools import cached_property
from typing import Any

import numpy as np

from bnfold.verifier.compare.channels import Array, finite
from bnfold.verifier.compare.noise import MOST_ROUNDINGS, moved_by_last_bit
from bnfold.verifier.compare.perturbed_weights import noise_of_step, step_of
from bnfold.verifier.compare.precision import coarsest_float
from bnfold.verifier.compare.tolerance import channel_floor
from bnfold.verifier.local.bench import Bench, Values
from bnfold.verifier.local.finding import LocalFinding, incomparable_because, nothing_found
from bnfold.verifier.local.laws import judge_by
from bnfold.verifier.local.limits import MovedInputs
from bnfold.verifier.models.changed import Site
from bnfold.verifier.models.subgraph import Excerpt


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
        for rounding, other in self._on_moved_inputs(site, values, self._move, MOST_ROUNDINGS):
            if incomparable_because(a, other):
                return nothing_found(site.tensor)
            moved = [*moved, _as_one_step(a, other, step_of(rounding), moved)]
        return judge_by(laws, site.tensor, a, b, moved, self._u(site, a))

    def _move(self, values: Values, rounding: int) -> Values:
        return moved_by_last_bit(values, 1, self._grain, rounding + 1, step_of(rounding))


def _as_one_step(a: Array, other: Array, step: int, moved: list[Array]) -> Array:
    """What one step would have made, judging by several: as far from a. Infinities stand where they are in a."""
    noise = max(float(np.max(np.abs(finite(known) - finite(a)), initial=0)) for known in moved)
    return np.asarray(a + noise_of_step(np.abs(finite(other) - finite(a)), step, np.asarray(noise)), a.dtype)
