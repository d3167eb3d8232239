"""Both subgraphs of one changed tensor in float64, on equal values.

No rounding of the layers before is in the way here, and none of the arithmetic: all that is left is that the new
model's numbers were rounded when they were stored. `bnfold.verifier.local.law` says how far that can carry.
"""

import math
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence, Set
from copy import copy
from dataclasses import replace
from functools import cached_property

import numpy as np

from bnfold.verifier.compare.arrays import FLOATS
from bnfold.verifier.compare.channels import Array, smallest
from bnfold.verifier.compare.finding import LocalFinding, incomparable, incomparable_because
from bnfold.verifier.local.crop import ACTIVATIONS, ARITHMETIC, CONVOLUTIONS
from bnfold.verifier.local.ends import Ends
from bnfold.verifier.local.float64.evaluate import Float64Subgraph, Role
from bnfold.verifier.local.float64.reference import computed_constants
from bnfold.verifier.local.half_units import is_narrow, is_number, moved
from bnfold.verifier.local.inferred import infer_held
from bnfold.verifier.local.law import Comparator, Subgraph
from bnfold.verifier.local.pieces import WHOLE, Cut, cut_alike, pieces
from bnfold.verifier.local.probes import Probe
from bnfold.verifier.local.rows import Finding
from bnfold.verifier.models.changed import ChangedTensor
from bnfold.verifier.models.graph import Structure, same_bits
from bnfold.verifier.models.held import Held

_UNITS = 4.0
"""Half units of float32 and float64: four roundings, as other tools make them that fold in the type itself."""
_FIRST = 64  # numbers
# In what these make, a single number of what they read stays one.
_LINEAR = CONVOLUTIONS | {"AveragePool", "BatchNormalization", "Cast", "Einsum", "FusedConv", "FusedGemm", "Sum"}
_LINEAR |= {"FusedMatMul", "Gemm", "GlobalAveragePool", "MatMul", "NhwcConv", "NhwcFusedConv"}
# Behind these, one number is made of values at all places.
_MEET = frozenset(("Flatten", "GlobalAveragePool", "ReduceMean", "ReduceSum", "Reshape"))
_MOVES = frozenset(("Concat", "Expand", "Flatten", "Gather", "Pad", "Reshape", "Slice", "Split", "Squeeze"))
_MOVES |= {"Transpose", "Unsqueeze"}
_SCALED = frozenset(("GroupNormalization", "InstanceNormalization", "LayerNormalization"))  # without their parameters
# Of the places behind a quantizer, how many may lie on the other side of a border; and how many more than in a move.
_FEW, _TIMES, _SAME = 0.01, 4, 1e-6

Judge = Callable[[Comparator, Sequence[Array]], Finding]
"""By one law, on given values."""


def can_be_alone(changed: ChangedTensor, original: Structure, known: Mapping[str, Array]) -> bool:
    """Whether the subgraphs can be run by themselves: what they begin with is known, and nothing is random."""
    random = any(original.is_random(index) for index in changed.original)
    return not random and all(name in known for name in changed.boundary)


def _look_of(array: Array) -> Hashable:
    """Type, shape and the first numbers of an array: the same for arrays that are equal, bit for bit."""
    first = b"" if array.dtype.kind in "OU" else array.reshape(-1)[:_FIRST].tobytes()
    return array.dtype, array.shape, first


class SubgraphPair:
    """Both subgraphs.

    Args:
        changed: the changed tensor.
        original: the original.
        new: the new model.
    """

    def __init__(self, changed: ChangedTensor, original: Structure, new: Structure) -> None:
        self._tensor, self._boundary = changed.name, changed.boundary
        self._ours = Float64Subgraph(original, changed.original, changed.name)
        self._theirs = Float64Subgraph(new, changed.new, changed.name)
        begins = ((at, new.held.get(name)) for at, name in enumerate(changed.boundary))
        self._ends = Ends({at: held for at, held in begins if held}, new.held.get(changed.name), _UNITS)
        self._changed = [not self._had(array, self._theirs.roles(name)) for name, array in self._theirs.stored.items()]
        self._computed: Mapping[str, Array] = computed_constants(original, self._ours.nodes, changed.name)
        self._smooth = not (self._ours.has_quantizers or self._theirs.has_quantizers)
        self._cuts: tuple[Cut, Cut] = (WHOLE, WHOLE)
        self._places: slice | None = None

    def in_pieces(self, shapes: Mapping[str, Sequence[int]]) -> "Iterator[SubgraphPair]":
        """The same subgraphs for some channels at a time; themselves where they are small, or cannot be cut.

        Args:
            shapes: of the tensors that they begin with.
        """
        parts = self._ours, self._theirs
        cuts = cut_alike(parts, shapes) if self._smooth and self._ends.end is None else None
        if cuts is None or any(self._boundary[at] in cuts[0].axes for at in self._ends.begins):
            yield self
            return
        for places in pieces(parts, cuts[0].size):
            piece = copy(self)  # of which nothing is known yet that is not true of its pieces as well
            piece._cuts, piece._places = cuts, places
            yield piece

    def _had(self, array: Array, roles: Set[Role]) -> bool:
        """Whether the original's part has the same numbers in the same role.

        In another role they have been computed: a bias may come out as the BatchNorm's own, bit for bit, though it was
        rounded to it. What bodies and functions hold is known without roles.
        """
        return any(
            same_bits(array, other) and (not roles or not theirs or not roles.isdisjoint(theirs))
            for other, theirs in self._had_by_look.get(_look_of(array), ())
        )

    @cached_property
    def _had_by_look(self) -> dict[Hashable, list[tuple[Array, Set[Role]]]]:
        """The original's stored arrays with their roles, by what is seen at once: there may be thousands of them."""
        found: dict[Hashable, list[tuple[Array, Set[Role]]]] = {}
        for name, array in self._ours.stored.items():
            found.setdefault(_look_of(array), []).append((array, self._ours.roles(name)))
        return found

    @property
    def makes_floats(self) -> bool:
        """Whether that was so in the last comparison."""
        return is_number(self._ours.made)

    @property
    def shows_single_numbers(self) -> bool:
        """Whether some numbers were changed, and impulses may bring them out one by one."""
        known = _LINEAR | _MOVES | _MEET | _SCALED | ACTIVATIONS | ARITHMETIC
        return any(map(is_number, self._new_numbers)) and self._smooth and self._theirs.operators <= known

    @property
    def sides(self) -> Sequence[int]:
        """On which sides of zero an activation may hide them."""
        return (1, -1) if self._theirs.operators & ACTIVATIONS else (1,)

    @property
    def joins_places(self) -> bool:
        """Whether a number may be made of values at all places, so that no two impulses may stand in one sample."""
        return not self._theirs.operators.isdisjoint(_MEET)

    @property
    def has_narrow_numbers(self) -> bool:
        """Whether some that were changed are of half precision."""
        return any(map(is_narrow, self._new_numbers))

    @property
    def _new_numbers(self) -> list[Array]:
        pairs = zip(self._theirs.stored.values(), self._changed, strict=True)
        return [array for array, changed in pairs if changed]

    def compare(self, probe: Probe) -> LocalFinding:
        """By the law of many numbers; where quantizers round, by how many values cross a border as well."""
        finding = self._nearest(probe, lambda pair, given: pair.compare(given, groups=probe.groups))
        if finding.excess > 1 or self._smooth:
            return self._told(finding, probe)
        return self._told(self._compare_steps(probe, finding), probe)

    def compare_singles(self, probe: Probe) -> LocalFinding:
        """By the law of single numbers."""
        finding = self._nearest(probe, Comparator.compare_singles)
        return self._told(finding, probe, "has a number that was not rounded once")

    def infer_end(self, draws: Iterable[Iterable[Probe]]) -> Held | None:
        """What the new model seems to hold at the changed tensor; None where no map says it.

        Args:
            draws: random values and zeros to begin with, as often as they are asked for.

        Raises:
            NotComputedError: an operator cannot be computed.
        """
        return infer_held(self._exact, ([(self._given(probe), probe.groups) for probe in probes] for probes in draws))

    def _given(self, probe: Probe) -> list[Array]:
        begin = {name: probe.values[name] for name in self._boundary}
        return self._ends.as_new_has(self._cuts[0].of(begin, self._places))

    def _nearest(self, probe: Probe, judge: Judge) -> Finding:
        """The finding; where the original computes constants, the better one of two, with their rounding or without."""
        given = self._given(probe)
        found = judge(self._exact, given)
        if found.excess > 1 and self._computed:
            found = min(found, judge(self._rounded, given), key=lambda entry: entry.excess)
        return found

    @cached_property
    def _exact(self) -> Comparator:
        return self._comparator({})

    @cached_property
    def _rounded(self) -> Comparator:
        return self._comparator(self._computed)

    def _comparator(self, computed: Mapping[str, Array], *, rounds: bool = False) -> Comparator:
        """Both subgraphs on values of what they begin with.

        Args:
            computed: constants of the original that are not computed again.
            rounds: whether quantizers round.
        """
        boundary = self._boundary  # and not self, which keeps what this returns

        def run_by(part: Float64Subgraph, more: Mapping[str, Array]) -> Subgraph:
            def run(given: Sequence[Array], stored: Sequence[Array]) -> Array:
                begin = {**dict(zip(boundary, given, strict=True)), **more}
                return part.run(begin, dict(zip(part.stored, stored, strict=True)), rounds=rounds)

            return run

        ends = self._ends
        parts = zip((self._ours, self._theirs), self._cuts, strict=True)
        own, theirs = (cut.of(part.stored, self._places) for part, cut in parts)
        return Comparator(
            ends.original(run_by(self._ours, computed)),
            ends.new(run_by(self._theirs, {})),
            ([*own, *ends.numbers], [*theirs, *ends.dials]),
            [*self._changed, *(True for _ in ends.dials)],
            units=_UNITS,
            least=self._least,
            crossed=bool(ends.numbers),
        )

    @cached_property
    def _least(self) -> float:
        """Numbers below the smallest normal one of a type may have been taken for zero."""
        types = {array.dtype for part in (self._ours, self._theirs) for array in part.stored.values()}
        return max((smallest(dtype) for dtype in types if dtype in FLOATS), default=0.0)

    def _compare_steps(self, probe: Probe, finding: Finding) -> Finding:
        """How many values cross a border of a quantizer, in units of how many do where the new numbers move."""
        comparator, given = self._comparator({}, rounds=True), self._given(probe)
        own, theirs = comparator.wide
        a, b = comparator.original(given, own), comparator.new(given, theirs)
        apart = _SAME * np.abs(a).max(initial=0)
        crossed = np.mean(np.abs(b - a) > apart)
        others = comparator.moved(lambda stored, which, units: moved(stored, 0, which, units), 1.0)
        usual = np.mean(np.abs(comparator.new(given, others) - b) > apart)
        return replace(finding, excess=max(finding.excess, float(crossed / (_FEW + _TIMES * usual))))

    def _incomparable_because(self, probe: Probe) -> str:
        """Why values cannot be compared one by one; "" if they can."""
        given, (own, theirs) = self._given(probe), self._exact.wide
        return incomparable_because(self._exact.original(given, own), self._exact.new(given, theirs))

    def _told(self, found: Finding, probe: Probe, what: str = "differs") -> LocalFinding:
        if math.isinf(found.excess):
            problem = self._incomparable_because(probe)
            if problem:
                return replace(incomparable(self._tensor, problem), where=probe.where)
        left, right = found.values
        error = found.error / found.scale if found.scale > 0 else (math.inf if found.error else 0.0)
        excess = found.excess
        return LocalFinding(
            self._tensor,
            excess,
            error,
            self._channel(found),
            left,
            right,
            what if excess > 1 else "",
            where=probe.where,
        )

    def _channel(self, found: Finding) -> int | None:
        """In the whole tensor."""
        if self._places is None or found.axis != self._cuts[0].axis:
            return found.channel
        return int(self._places.start) + (found.channel or 0)  # a piece of one channel has no number for it
