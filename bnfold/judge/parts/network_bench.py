"""Parts with bodies or functions, which may be networks of their own."""

from functools import cached_property
from typing import Any

import numpy as np

from bnfold.judge.channels import Array
from bnfold.judge.grain import coarsest_float
from bnfold.judge.noise import moved_by_last_bit
from bnfold.judge.parts.bench import Bench, Values
from bnfold.judge.parts.excerpt import Excerpt
from bnfold.judge.parts.finding import LocalFinding, incomparable_because, nothing_found
from bnfold.judge.parts.laws import judge_by
from bnfold.judge.parts.limits import MovedInputs
from bnfold.judge.sites import Site
from bnfold.judge.tolerance import channel_floor


class NetworkBench(Bench):
    """Parts with bodies or functions, which may be deep: judged like networks, by how far moved inputs move them."""

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
        _values: Values,
        seen: tuple[Array, Array, list[Array]],
        *,
        random: bool,  # noqa: ARG002
    ) -> LocalFinding:
        """By what moved inputs do. Where these change what is infinite or how much there is, nothing can be said."""
        a, b, moved = seen
        if not moved or any(incomparable_because(a, other) for other in moved):
            return nothing_found(site.tensor)
        return judge_by([MovedInputs(channel_floor(a.dtype, self._grain))], site.tensor, a, b, moved, self._u(site, a))
