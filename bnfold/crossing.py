"""Folding a BatchNorm across tensors that others read, where neither direction alone is free."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Generic

import numpy as np

from bnfold.affine import Affine, Array
from bnfold.compensation import Compensator, Region, Stopped
from bnfold.distances import distance
from bnfold.growth import effects, why_grown
from bnfold.halves import Halves, all_behind, halves, halves_of_scale, halves_of_shift, sign_behind
from bnfold.label import Label
from bnfold.meanings import Meanings
from bnfold.outcome import Fold, OneOperator
from bnfold.planning import Plan, Planner
from bnfold.port import E, GraphPort, N, V, result_of, tensor_at
from bnfold.refusal import Reason, Refusal
from bnfold.rivals import Rivals
from bnfold.semantics import AffineMap, Meaning, Rearrangement, Split

# How many deviations the zero of a BatchNorm may lie from the mean that it knows, by the bits of the significand of the
# type: so far from zero are the values that the tensor's readers see then. docs/theory.md has the measurement.
FARTHEST_ZERO = {53: 1e4, 24: 64.0, 11: 1.0, 8: 0.0}
# By what the values of a tensor may be divided: float16 ends at 65504, and loses digits below 6e-5.
LARGEST_FACTOR = {11: 16.0}


@dataclass(frozen=True)
class Way(Generic[N, V, E]):
    """A region that can be carried out: its edits are made, and hold.

    Attributes:
        origin: the BatchNorm that the region began with.
        halves: the maps at it.
        left: what the BatchNorm means then, without the part that is pulled.
        region: the maps, and who lives with them.
        edits: of the nodes that take a map.
        pulled: what goes upstream before that, along tensors that nobody else reads.
    """

    origin: N
    halves: Halves
    left: AffineMap
    region: Region[N, V]
    edits: list[E]
    pulled: Plan[N, V]


class Crossing(Generic[N, V, E]):
    """Folds one BatchNorm after the other across the tensors of one graph.

    Args:
        port: the graph; it is changed in place.
        meanings: what its nodes mean.
    """

    def __init__(self, port: GraphPort[N, V, E], meanings: Meanings[N, V, E]) -> None:
        self._port = port
        self._meaning = meanings
        self._sizes: dict[V, tuple[float, float]] = {}
        self._rivals: Rivals[N, V, E] = Rivals(port)

    def fold(self, node: N, meaning: AffineMap) -> Fold | Refusal:
        """Fold one BatchNorm, or say why it stays: what stopped the plan that came furthest."""
        level: Array = np.zeros(1)
        far = partial(self._too_far, node, meaning)
        way = self._find(node, meaning, Plan(), halves(meaning.affine), lambda region: far(level, region))
        channels = meaning.affine.along(1)
        if isinstance(way, Refusal) and channels is not None:
            shift = channels.shift
            found = self._find_pulled(node, meaning, all_behind, lambda region: far(shift, region))
            way, level = (way, level) if found is None else (found, shift)
        if isinstance(way, Refusal):
            return self._rivals.named(way)
        fold = self._folded(node, meaning, way, level)
        self._rivals.note(node, way.region)
        self.carry_out(way, lambda: self._bypass(node, meaning, way.region))
        return fold

    def find_addition(self, node: N, meaning: AffineMap) -> Way[N, V, E] | Refusal:
        """A way to take the scale off a BatchNorm, so that an addition is left of it; or what stops the furthest."""
        way = self._find(node, meaning, Plan(), halves_of_scale(meaning.affine), lambda _: None)
        found = self._find_pulled(node, meaning, sign_behind, lambda _: None) if isinstance(way, Refusal) else None
        return way if found is None else found

    def one_operator_for(self, node: N, meaning: AffineMap) -> OneOperator | None:
        """What would do in the place of a BatchNorm that stays: an Add, or a Mul; None where both of it are needed."""
        if isinstance(self.find_addition(node, meaning), Way):
            return "Add"
        far = partial(self._too_far, node, meaning, np.zeros(1))
        scaled = self._find(node, meaning, Plan(), halves_of_shift(meaning.affine), far)
        return "Mul" if isinstance(scaled, Way) else None

    def _find_pulled(
        self,
        node: N,
        meaning: AffineMap,
        halves: Callable[[Affine], Halves],
        refuse: Callable[[Region[N, V]], Refusal | None],
    ) -> Way[N, V, E] | None:
        """A way that begins with sizes alone, which go upstream as far as nobody else reads what they change.

        There a size may be 0: the channel is made 0 in front of a ramp that a constant could not pass. Signs and shift
        are left for the region, and no channel of that is dead.
        """
        sizes = Affine(np.abs(meaning.affine.scale), np.zeros((1,) * meaning.affine.rank))
        if not sizes.has_scale or self._is_read_whole_by_others(node, meaning.source):
            return None
        pulled = Planner(self._port, self._meaning).pull(Plan(), node, meaning.source, sizes)
        if isinstance(pulled, Refusal):
            return None
        left = replace(meaning, affine=Affine(np.where(meaning.affine.scale < 0, -1.0, 1.0), meaning.affine.shift))
        way = self._find(node, left, pulled, [halves(left.affine)], refuse)
        return None if isinstance(way, Refusal) else way

    def _is_read_whole_by_others(self, node: N, source: int) -> bool:
        """Whether somebody else sees all places of an input: it takes no map then that goes upstream."""
        before = tensor_at(self._port.inputs(node), source)
        return any(
            reader is not node and not isinstance(self._meaning(reader), (Rearrangement, Split))
            for reader, _ in self._port.readers(before)
        )

    def carry_out(self, way: Way[N, V, E], replace_origin: Callable[[], V | None]) -> None:
        """Make the edits of a way, then what becomes of the BatchNorm itself.

        Args:
            way: found on the graph as it is.
            replace_origin: takes the BatchNorm off its place; returns the tensor that is gone with it, if one is.
        """
        region = way.region
        for value, affine in region.maps.items():
            self._sizes[value] = self._sizes_with(value, affine)
        changed = dict.fromkeys((*way.pulled.changed, *region.maps))
        self._meaning.forget_around((way.origin, *way.pulled.meanings, *region.meanings), changed)
        for edit in way.edits:
            self._port.apply(edit)
        gone = replace_origin()
        for value in changed:
            if value is not gone:
                self._port.rename(value)

    def _find(
        self,
        node: N,
        meaning: AffineMap,
        pulled: Plan[N, V],
        halves: Iterable[Halves],
        refuse: Callable[[Region[N, V]], Refusal | None],
    ) -> Way[N, V, E] | Refusal:
        """The first of these pairs of maps with which a region holds, behind a plan that is made by then.

        Args:
            node: the BatchNorm.
            meaning: what it means then.
            pulled: the plan.
            halves: maps on its input and its output.
            refuse: says what speaks against a region.
        """
        far = Stopped(Refusal(Reason.NO_READER, "it reads or makes nothing"), -1)
        before, behind = self._port.inputs(node)[meaning.source], self._port.outputs(node)[0]
        if before is None or behind is None:
            return far.refusal
        meanings = self._meaning.after(pulled.meanings) if pulled.meanings else self._meaning
        compensator = Compensator(self._port, meanings)
        hopeless: list[Array] = []
        for own, others in halves:
            if any(np.array_equal(own.shift, shift) for shift in hopeless):
                continue
            region = self._plan(compensator, node, {before: own, behind: others}, refuse)
            edits = region if isinstance(region, Stopped) else self._encoded(node, meaning, region, pulled)
            if isinstance(region, Region) and not isinstance(edits, Stopped):
                return Way(node, (own, others), meaning, region, edits, pulled)
            if isinstance(edits, Stopped):
                far = edits if edits.reach > far.reach else far
                hopeless += [own.shift] if edits.shifts_alone else []
        return far.refusal

    def _plan(
        self,
        compensator: Compensator[N, V, E],
        node: N,
        seeds: Mapping[V, Affine],
        refuse: Callable[[Region[N, V]], Refusal | None],
    ) -> Region[N, V] | Stopped:
        region = compensator.plan(node, seeds)
        if isinstance(region, Stopped):
            return region
        refusal = refuse(region) or self._too_coarse(node, region)
        return region if refusal is None else Stopped(refusal.along(Label(node.label, node.op)), len(region.maps))

    def _too_coarse(self, node: N, region: Region[N, V]) -> Refusal | None:
        """Whether tensors would come near the ends of a narrow type, all maps taken together that they have had."""
        most = LARGEST_FACTOR.get(self._port.significand(node), np.inf)
        for value, affine in region.maps.items():
            least, largest = self._sizes_with(value, affine)
            if max(largest, 1 / least if least else np.inf) > most:
                evidence = (
                    f"{value.name!r} would hold its values times {1 / largest:.3g} to {1 / max(least, 1e-300):.3g}"
                )
                return Refusal(Reason.CONDITIONING, f"{evidence}, more than a factor of {most:g}")
        return None

    def _sizes_with(self, value: V, affine: Affine) -> tuple[float, float]:
        """The least and the largest factor between what the file says and what the tensor would hold; not of zeros."""
        least, largest = self._sizes.get(value, (1.0, 1.0))
        sizes = np.abs(affine.scale[affine.scale != 0])
        if not sizes.size:
            return least, largest
        return least * float(sizes.min()), largest * float(sizes.max())

    def _too_far(self, node: N, meaning: AffineMap, level: Array, region: Region[N, V]) -> Refusal | None:
        """Whether readers would see values far from zero: those of a level of the BatchNorm's output are 0 then."""
        if not any(affine.has_shift for affine in region.maps.values()):
            return None
        farthest = FARTHEST_ZERO.get(self._port.significand(node), 0.0)
        far = distance(meaning, level)
        if far is None:
            return Refusal(Reason.CONDITIONING, "nothing says how far its zero lies from the values that it reads")
        worst = int(np.argmax(far))
        if far[worst] <= farthest:
            return None
        return Refusal(
            Reason.CONDITIONING,
            f"its zero lies {far[worst]:.3g} deviations from the mean in channel {worst}, more than {farthest:g}",
        )

    def _encoded(self, origin: N, meaning: AffineMap, region: Region[N, V], pulled: Plan[N, V]) -> list[E] | Stopped:
        edits: list[E] = []
        for node, after in {**pulled.meanings, **region.meanings}.items():
            edit = self._encode(node, meaning, after)
            if isinstance(edit, Refusal):
                path = (Label(origin.label, origin.op), Label(node.label, node.op))
                return Stopped(edit.along(*path), len(region.maps))
            edits.append(edit)
        return edits

    def _encode(self, node: N, origin: AffineMap, after: Meaning) -> E | Refusal:
        grown = why_grown(origin, self._meaning(node), after)
        if grown is not None:
            return grown
        edit = self._port.encode(node, after)
        if not isinstance(edit, Refusal) and self._port.added_nodes(edit):
            return Refusal(Reason.NO_BIAS, f"{node.op} has no bias, and another node would cost as much")
        return edit

    def _folded(self, node: N, meaning: AffineMap, way: Way[N, V, E], level: Array) -> Fold:
        region, edits = way.region, way.edits
        meanings = {**way.pulled.meanings, **region.meanings}
        passed = {**way.pulled.through, **region.passed}
        changes = [(other, self._meaning(other), after) for other, after in meanings.items()]
        found = effects(self._port, changes, edits, "across")
        far = distance(meaning, level)
        return Fold(
            node=Label(node.label, node.op),
            op=node.op,
            is_batch_norm=node.is_batch_norm,
            tensor=result_of(self._port, node).name,
            direction="across",
            into=tuple(Label(other.label, other.op) for other in meanings),
            through=tuple(Label(other.label, other.op) for other in passed if other not in meanings),
            amplification=found.amplification,
            dead_channels=found.dead_channels,
            quantization=found.quantization,
            zero_point=0.0 if far is None else float(far.max(initial=0.0)),
        )

    def _bypass(self, node: N, meaning: AffineMap, region: Region[N, V]) -> V | None:
        """Take a BatchNorm out; the tensor that is gone with it."""
        before, behind = self._port.inputs(node)[meaning.source], self._port.outputs(node)[0]
        if behind in region.maps:
            self._port.bypass_downstream(node, meaning.source)
            return behind
        self._port.bypass_upstream(node, meaning.source)
        return before
