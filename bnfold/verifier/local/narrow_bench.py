"""Parts with half-precision parameters."""

from functools import cached_property

import numpy as np

from bnfold.verifier.compare.arrays import FLOATS
from bnfold.verifier.compare.channels import Array
from bnfold.verifier.local.bench import Bench, Values
from bnfold.verifier.local.finding import LocalFinding
from bnfold.verifier.local.laws import Law, judge_by
from bnfold.verifier.local.moves import moved_within
from bnfold.verifier.local.readable import Readable, readable
from bnfold.verifier.local.reading import read_bias, read_weights
from bnfold.verifier.local.rounding import RoundedPlaces, RoundedSlopes, SlopesTogether
from bnfold.verifier.local.running import Running
from bnfold.verifier.local.truth import exact_values
from bnfold.verifier.models.changed import Site
from bnfold.verifier.models.graph import same_parameter
from bnfold.verifier.models.subgraph import TO_SINGLE, Excerpt

# One random move may leave a channel where it was, and three a channel of which few values were seen.
_MOVES = 3
_MOVES_IN_DOUBT = 20


class NarrowBench(Bench):
    """Parts with half-precision parameters, computed in float32: the new one's moves within its rounding."""

    precision = TO_SINGLE

    def _add(self, site: Site, number: int, ours: Excerpt, theirs: Excerpt) -> tuple[str, str, list[str]]:
        plain = theirs.add(site, site.new, number)
        return ours.add(site, site.original, number), plain, self._add_moved(site, number, theirs, range(_MOVES))

    def _add_moved(self, site: Site, number: int, theirs: Excerpt, seeds: range) -> list[str]:
        names = {name for index in site.new for name in self._new.reads(index)}
        unchanged = {name for name in names if same_parameter(self._original, self._new, name, name)}
        moves = ((seed, moved_within(self._new, site.new, unchanged, seed)) for seed in seeds)
        return [theirs.add_moved(site, site.new, number, f"~{seed}", move) for seed, move in moves]

    @cached_property
    def _readable(self) -> dict[str, Readable]:
        """The sites whose weights can be read, by their tensors."""
        entries = (readable(site, self._new) for site in self._sites)
        return {entry.site.tensor: entry for entry in entries if entry is not None}

    def _moved(self, values: Values, ours: Values, theirs: Values) -> list[list[Array]]:  # noqa: ARG002
        return [[theirs[name] for name in moved] for _, _, moved in self._names]

    def judge_site(
        self, site: Site, values: Values, seen: tuple[Array, Array, list[Array]], *, random: bool
    ) -> LocalFinding:
        """By what rounding once does; in doubt, by more roundings."""
        a, b, moved = seen
        laws: list[Law] = [RoundedPlaces(3 if random else 10)]
        entry = self._readable.get(site.tensor)
        if random and (entry is None or entry.adds):  # what is read number by number needs no statistics
            laws += [RoundedSlopes(), SlopesTogether()]
        finding = judge_by(laws, site.tensor, a, b, moved, self._u(site, a))
        if finding.excess <= 1:
            return finding
        return judge_by(laws, site.tensor, a, b, [*moved, *self._further(site, values)], self._u(site, a))

    def _further(self, site: Site, values: Values) -> list[Array]:
        """What further roundings of the new part make."""
        excerpt = Excerpt(self._new, self.precision)
        excerpt.add(site, site.new, 0)
        names = self._add_moved(site, 0, excerpt, range(_MOVES, _MOVES_IN_DOUBT))
        run = Running("the new model", excerpt, values).run(values)
        return [run[name] for name in names if run]

    def read(self, like: Values) -> list[LocalFinding]:
        """Judge the weights one by one where they can be read."""
        quiet = {name: np.zeros_like(values) if values.dtype in FLOATS else values for name, values in like.items()}
        ours, theirs = self._ours.run(quiet), self._theirs.run(quiet)
        if not ours or not theirs:
            return []
        names = {site.tensor: (a, b) for site, (a, b, _) in zip(self._sites, self._names, strict=True)}
        findings = []
        for entry in self._readable.values():
            a, b = names[entry.site.tensor]
            if not entry.adds:
                findings.append(self._read_bias(entry, quiet, ours[a], theirs[b]))
            findings += read_weights(entry, self._original, self._new, like[entry.source])
        return findings

    def _read_bias(self, entry: Readable, quiet: Values, ours: Array, theirs: Array) -> LocalFinding:
        finding = read_bias(entry, ours, theirs)
        exact = exact_values(self._original, entry.site, quiet) if finding.what else None
        return finding if exact is None else read_bias(entry, exact, theirs)
