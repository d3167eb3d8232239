"""Maps that cross tensors which others read: those readers take the inverse.

`planning` moves a map along a path on which every tensor has one reader that matters. Here a plan says what the readers
of every tensor of a region have to apply, old value = map(new value), and every node of the region is settled with the
maps on its sides. A tensor gets one map; a tensor that gets a map tells its producer and all its readers.
docs/theory.md has the view behind it.
"""

import heapq
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Generic

from bnfold import rules
from bnfold.affine import Affine
from bnfold.choices import Picks
from bnfold.label import Label
from bnfold.meanings import Meanings
from bnfold.planning import together
from bnfold.port import E, GraphPort, N, V, tensor_at
from bnfold.refusal import Reason, Refusal
from bnfold.rules.carry import Sides, agree, settle, spread
from bnfold.semantics import AffineMap, Concatenation, Contraction, Meaning, Product, Rearrangement, Sum


@dataclass
class Region(Generic[N, V]):
    """A set of maps that holds together.

    Attributes:
        maps: of tensors: what they hold now, of what they will hold.
        meanings: what nodes will mean; those that a map only passes stay as they are.
        passed: nodes that a map only passes.
    """

    maps: dict[V, Affine] = field(default_factory=dict)
    meanings: dict[N, Meaning] = field(default_factory=dict)
    passed: dict[N, None] = field(default_factory=dict)


@dataclass(frozen=True)
class Stopped:
    """Why there is no region.

    Attributes:
        refusal: what one node, or one tensor, said.
        reach: how many questions were answered before: the further a plan came, the more its end says.
        shifts_alone: whether shifts were in the way of every choice: they would be with other scales as well.
    """

    refusal: Refusal
    reach: int
    shifts_alone: bool = False


class Compensator(Generic[N, V, E]):
    """Plans regions on one graph as it is now.

    Args:
        port: the graph.
        meanings: what its nodes mean.
    """

    def __init__(self, port: GraphPort[N, V, E], meanings: Meanings[N, V, E]) -> None:
        self._port = port
        self.meaning = meanings

    def plan(self, origin: N, seeds: Mapping[V, Affine]) -> Region[N, V] | Stopped:
        """The region in which these tensors have these maps, and all that is outside sees what it sees now.

        Where the algebra leaves a choice, other choices are tried until one holds; what is said is of the first.

        Args:
            origin: the affine node that goes: nothing is asked of it.
            seeds: of its input and its output, so that the two hold the same then.
        """
        picks = Picks()
        stops: list[Stopped] = []
        for _ in picks.attempts():
            attempt: _Attempt[N, V, E] = _Attempt(self._port, self.meaning, origin, picks)
            found = attempt.run(seeds)
            if not isinstance(found, Refusal):
                return found
            stops.append(Stopped(found, attempt.reach))
            picks.learn(found)
        shifts_alone = all(stop.refusal.reason is Reason.SHIFT_CANNOT_PASS for stop in stops)
        return replace(stops[0], shifts_alone=shifts_alone)


class _Attempt(Generic[N, V, E]):
    """One run through all choices that were picked."""

    def __init__(self, port: GraphPort[N, V, E], meaning: Callable[[N], Meaning], origin: N, picks: Picks) -> None:
        self._port, self._meaning, self._origin, self._picks = port, meaning, origin, picks
        self._region: Region[N, V] = Region()
        self._known: dict[V, Affine] = {}
        self._up: list[tuple[tuple[int, ...], int, N]] = []
        self._down: list[tuple[tuple[int, ...], int, N]] = []
        self._waiting: set[N] = set()
        self._touched: dict[N, None] = {}
        self._requests: dict[V, list[Affine]] = {}
        self._count = 0

    @property
    def reach(self) -> int:
        """How many questions were asked; 0 where the seeds themselves, or their readers, refuse."""
        return self._count

    def run(self, seeds: Mapping[V, Affine]) -> Region[N, V] | Refusal:
        for value, affine in seeds.items():
            refusal = self._assign(value, affine)
            if refusal is not None:
                self._count = 0
                return refusal.along(Label(self._origin.label, self._origin.op))
        self._known.update(seeds)  # also where they change nothing: the origin goes only if that stays so
        refusal = self._refused_at_once(seeds)
        if refusal is not None:
            self._count = 0
            return refusal
        for node in self._visits():
            refusal = self._assign_requested(node) or self._spread(node)
            if refusal is not None:
                return self._along(refusal, node)
        for node in self._touched:
            refusal = self._settle(node)
            if refusal is not None:
                return self._along(refusal, node)
        return self._region

    def _refused_at_once(self, seeds: Mapping[V, Affine]) -> Refusal | None:
        """What the nearest readers refuse whatever lies behind them: most plans fail here, before a region is made."""
        for value, affine in seeds.items():
            for reader, slot in [] if affine.is_identity else self._port.readers(value):
                if reader is self._origin or isinstance(self._meaning(reader), (Sum, Product, Concatenation)):
                    continue
                found = spread(self._meaning(reader), Sides(inputs={slot: affine}))
                if isinstance(found, Refusal):
                    return self._along(found, reader)
        return None

    def _visits(self) -> Iterator[N]:
        """Producers first, the last of them first: what lies behind is asked when all that is in front is known."""
        while self._up or self._down:
            _, _, node = heapq.heappop(self._up or self._down)
            if node in self._waiting:
                self._waiting.remove(node)
                yield node

    def _maker(self, value: V) -> N | Refusal:
        """The node that makes a tensor which may hold other values; or why it may not."""
        return self._port.pinned(value) or self._port.producer(value)

    def _request(self, value: V, affine: Affine) -> Refusal | None:
        """Ask for a map at the places of a tensor that one of its readers shows; others have a say at other places.

        Where data movement makes the tensor, what it reads is asked: others may show other places of that, and once it
        has its map, the tensor gets its own.
        """
        producer = self._maker(value)
        while not isinstance(producer, Refusal):
            moved = self._moved_from(producer, value, affine)
            if moved is None:
                break
            value, affine = moved
            producer = self._maker(value)
        if isinstance(producer, Refusal):
            return producer
        self._requests.setdefault(value, []).append(affine)
        self._ask(producer, self._up, tuple(-step for step in self._port.position(producer)))
        return None

    def _moved_from(self, producer: N, value: V, affine: Affine) -> tuple[V, Affine] | None:
        """What a data movement reads, and the map that it asks of that; None where the result is to be asked."""
        meaning = self._meaning(producer)
        if producer is self._origin or value in self._known or not isinstance(meaning, Rearrangement):
            return None
        pulled = rules.pull(meaning, {0: affine})
        if isinstance(pulled, Refusal) or pulled.meaning is not None:
            return None
        asked = pulled.requirements[meaning.source]
        return tensor_at(self._port.inputs(producer), meaning.source), rules.where_shown(meaning, meaning.source, asked)

    def _assign_requested(self, producer: N) -> Refusal | None:
        """Give a node's results the maps that were asked for piece by piece: by now, all who read them have spoken."""
        for value in self._port.outputs(producer):
            requested = self._requests.get(value, ()) if value is not None else ()
            if value is None or not requested:
                continue
            refusal = self._assign(value, together(requested))
            if refusal is not None:
                return refusal
        self._waiting.discard(producer)  # it is being visited
        return None

    def _assign(self, value: V, affine: Affine) -> Refusal | None:
        known = self._known.get(value)
        if known is not None:
            if agree(known, affine):
                return None
            return Refusal(Reason.CYCLE, f"two ways through the graph ask for different maps of {value.name!r}")
        if affine.is_identity:
            return None
        producer = self._maker(value)
        if isinstance(producer, Refusal):
            return producer
        self._requests.pop(value, None)
        self._region.maps[value] = self._known[value] = affine
        self._ask(producer, self._up, tuple(-step for step in self._port.position(producer)))
        for reader, _ in self._port.readers(value):
            self._ask(reader, self._down, self._port.position(reader))
        return None

    def _ask(self, node: N, queue: list[tuple[tuple[int, ...], int, N]], position: tuple[int, ...]) -> None:
        if node is self._origin:
            return
        self._touched[node] = None
        self._waiting.add(node)
        self._count += 1
        heapq.heappush(queue, (position, self._count, node))

    def _spread(self, node: N) -> Refusal | None:
        choices = spread(self._meaning(node), self._sides(node))
        if isinstance(choices, Refusal):
            return choices
        chosen = self._picks.choose(self._absorbers_first(node, choices))
        for index, affine in chosen.inputs.items():
            source = tensor_at(self._port.inputs(node), index)
            shown = rules.where_shown(self._meaning(node), index, affine)
            refusal = self._assign(source, affine) if shown is affine else self._request(source, shown)
            if refusal is not None:
                return refusal
        outputs = self._port.outputs(node)
        for index, affine in chosen.outputs.items():
            value = outputs[index] if index < len(outputs) else None
            refusal = None if value is None else self._assign(value, affine)
            if refusal is not None:
                return refusal
        return None

    def _settle(self, node: N) -> Refusal | None:
        before = self._meaning(node)
        after = settle(before, self._sides(node))
        if isinstance(after, Refusal):
            return after
        if after is None:
            self._region.passed[node] = None
        else:
            self._region.meanings[node] = after
        return None

    def _sides(self, node: N) -> Sides:
        maps = self._region.maps
        inputs, outputs = self._port.inputs(node), self._port.outputs(node)
        return Sides(
            {index: maps[value] for index, value in enumerate(inputs) if value is not None and value in maps},
            {index: maps[value] for index, value in enumerate(outputs) if value is not None and value in maps},
        )

    def _absorbers_first(self, node: N, choices: Sequence[Sides]) -> list[Sides]:
        """Shifts and scales go where they end at once, if they can."""
        if len(choices) == 1:
            return list(choices)
        return sorted(choices, key=lambda choice: not self._ends(node, choice))

    def _ends(self, node: N, choice: Sides) -> bool:
        inputs = self._port.inputs(node)
        moved = [index for index, affine in choice.inputs.items() if affine.has_shift] or list(choice.inputs)
        return bool(moved) and all(self._ends_at(tensor_at(inputs, index)) for index in moved)

    def _ends_at(self, value: V) -> bool:
        producer = self._port.producer(value)
        if isinstance(producer, Refusal) or value in self._region.maps:
            return False
        return isinstance(self._meaning(producer), (Contraction, AffineMap)) and len(self._port.readers(value)) == 1

    def _along(self, refusal: Refusal, node: N) -> Refusal:
        return refusal.along(Label(self._origin.label, self._origin.op), Label(node.label, node.op))
