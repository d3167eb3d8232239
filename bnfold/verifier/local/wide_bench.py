"""Parts whose parameters are of the precision that they compute in."""

from dataclasses import replace

import numpy as np

from bnfold.verifier.compare.channels import Array
from bnfold.verifier.compare.noise import moved_by_last_bit
from bnfold.verifier.local.bench import Bench, Values
from bnfold.verifier.local.finding import LocalFinding
from bnfold.verifier.local.laws import appeal, can_vouch, judge_by
from bnfold.verifier.local.limits import Places, Slopes
from bnfold.verifier.local.moves import moved_by_one
from bnfold.verifier.local.truth import exact_values
from bnfold.verifier.models.changed import Site
from bnfold.verifier.models.subgraph import Excerpt

# One random move may leave a channel where it was.
_MOVES = 3
# A channel of which few values were seen: how far one rounding moves them says little.
_MOVED_INPUTS = 8
# What another implementation in float64 may be off from the original: four times what a place may.
_BELIEVED = 64.0


class WideBench(Bench):
    """Parts whose parameters are of the precision that they compute in: the original's moves by one ulp."""

    def _add(self, site: Site, number: int, ours: Excerpt, theirs: Excerpt) -> tuple[str, str, list[str]]:
        plain = ours.add(site, site.original, number)
        moves = (moved_by_one(self._original, site.original, seed) for seed in range(_MOVES))
        moved = [ours.add_moved(site, site.original, number, f"~{way}", move) for way, move in enumerate(moves)]
        return plain, theirs.add(site, site.new, number), moved

    def judge_site(
        self, site: Site, values: Values, seen: tuple[Array, Array, list[Array]], *, random: bool
    ) -> LocalFinding:
        """By the arithmetic's limits, and in doubt by the same part on moved inputs, and in float64."""
        a, b, moved = seen
        laws = (Places(), Slopes()) if random else (Places(),)
        u = self._u(site, a)
        finding = judge_by(laws, site.tensor, a, b, moved, u)
        if finding.excess > 1:
            others = self._on_moved_inputs(site, values, _by_own_last_bit, _MOVED_INPUTS)
            moved = [*moved, *(other for _, other in others)]
            finding = judge_by(laws, site.tensor, a, b, moved, u)
        if finding.excess <= 1:
            return finding
        exact = exact_values(self._original, site, values)
        if exact is None or not can_vouch(exact, a, _BELIEVED * u):
            return replace(finding, has_reference=False)
        return appeal(laws, finding, a, b, exact, u)


def _by_own_last_bit(values: Values, seed: int) -> Values:
    return moved_by_last_bit(values, 1, np.dtype(np.float64), seed)
