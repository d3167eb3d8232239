"""How a map gets from one place of the graph to operators that absorb it: plans, which change nothing yet."""

import heapq
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Generic, TypeAlias

from bnfold import rules
from bnfold.affine import Affine, identity
from bnfold.choices import Picks
from bnfold.label import Label, first_labels, named
from bnfold.meanings import Meanings
from bnfold.port import E, GraphPort, N, V, tensor_at
from bnfold.refusal import Reason, Refusal
from bnfold.semantics import Absorber, Meaning

PushRule: TypeAlias = Callable[[Meaning, Mapping[int, Affine]], rules.Moved | Refusal]


@dataclass(frozen=True)
class _Path:
    """The nodes from the origin to here, the last first: paths share their beginnings, so that long ones are cheap."""

    label: str
    before: "_Path | None"

    def labels(self) -> list[str]:
        """All labels, the origin's first."""
        labels: list[str] = []
        step: _Path | None = self
        while step is not None:
            labels.append(step.label)
            step = step.before
        return labels[::-1]


@dataclass
class Plan(Generic[N, V]):
    """A set of moves that holds together.

    Attributes:
        meanings: what nodes will mean.
        changed: tensors that will hold other values.
        into: nodes that absorb.
        through: nodes that a map only passes.
    """

    meanings: dict[N, Meaning] = field(default_factory=dict)
    changed: dict[V, None] = field(default_factory=dict)
    into: dict[N, None] = field(default_factory=dict)
    through: dict[N, None] = field(default_factory=dict)

    def copy(self) -> "Plan[N, V]":
        """A plan that can go on without this one."""
        return Plan(dict(self.meanings), dict(self.changed), dict(self.into), dict(self.through))

    def visit(self, node: N, moved: rules.Moved, requirements: Mapping[int, Affine]) -> None:
        """Note what a node does with a map."""
        if moved.meaning is not None:
            self.meanings[node] = moved.meaning
        (self.through if requirements else self.into)[node] = None


class Planner(Generic[N, V, E]):
    """Plans moves on one graph as it is now.

    Args:
        port: the graph.
        meanings: what its nodes mean.
    """

    def __init__(self, port: GraphPort[N, V, E], meanings: Meanings[N, V, E]) -> None:
        self._port = port
        self.meaning = meanings

    def pull(self, plan: Plan[N, V], origin: N, source: int, affine: Affine) -> Plan[N, V] | Refusal:
        """Extend a plan so that input `source` of `origin` carries `affine` on top of its values.

        Where the algebra leaves a choice, other choices are tried until one holds; the refusal is that of the first.
        """
        picks = Picks()
        first: Refusal | None = None
        for _ in picks.attempts():
            attempt = plan.copy()
            refusal = self._pull_once(attempt, origin, source, affine, picks)
            if refusal is None:
                return attempt
            first = first or refusal
        return first or Refusal(Reason.NOT_LINEAR, "no choice was left")

    def push(self, plan: Plan[N, V], origin: N, affine: Affine, *, rule: PushRule = rules.push) -> Plan[N, V] | Refusal:
        """Extend a plan so that everything that reads output 0 of `origin` computes the same without `affine`.

        Args:
            plan: the plan.
            origin: the node.
            affine: the map.
            rule: how a node computes the same from its inputs without the maps.
        """
        attempt = plan.copy()
        return self._push_once(attempt, origin, affine, rule) or attempt

    def _pull_once(self, plan: Plan[N, V], origin: N, source: int, affine: Affine, picks: Picks) -> Refusal | None:
        start = tensor_at(self._port.inputs(origin), source)
        front = _Front[N, V]({start: {(origin, source): affine}}, {start: _Path(Label(origin.label, origin.op), None)})
        refusal = self._enqueue(front, start)
        while refusal is None and front.queue:
            node = front.pop()
            refusal = self._pull_node(plan, front, node, picks)
        return refusal

    def _pull_node(self, plan: Plan[N, V], front: "_Front[N, V]", node: N, picks: Picks) -> Refusal | None:
        outputs: dict[int, Affine] = {}
        path = _Path("", None)
        for index, value in enumerate(self._port.outputs(node)):
            if value is None or value not in front.requirements:
                continue
            path = front.paths[value]
            agreed = self._agreed(value, front.requirements[value], picks)
            if isinstance(agreed, Refusal):
                return agreed.along(*_Path(Label(node.label, node.op), path).labels())
            outputs[index] = agreed
            plan.changed[value] = None
        path = _Path(Label(node.label, node.op), path)
        moved = rules.pull(plan.meanings.get(node) or self.meaning(node), outputs)
        if isinstance(moved, Refusal):
            return moved.along(*path.labels())
        choice = picks.choose(self._absorbers_first(node, moved.choices))
        requirements = {index: affine for index, affine in choice.items() if not affine.is_identity}
        plan.visit(node, moved, requirements)
        for index, affine in requirements.items():
            value = tensor_at(self._port.inputs(node), index)
            front.requirements.setdefault(value, {})[(node, index)] = affine
            front.paths.setdefault(value, path)
            refusal = self._enqueue(front, value)
            if refusal is not None:
                return refusal
        return None

    def _enqueue(self, front: "_Front[N, V]", value: V) -> Refusal | None:
        producer = self._port.producer(value)
        if isinstance(producer, Refusal):
            return producer.along(*front.paths[value].labels())
        front.add(producer, tuple(-step for step in self._port.position(producer)))
        return None

    def _agreed(self, value: V, requirements: Mapping[tuple[N, int], Affine], picks: Picks) -> Affine | Refusal:
        """The one map that gives every reader what it wants of the places that it shows, or why there is none.

        Where the maps that readers ask for do not go together, each is tried at the places alone that its reader shows.
        """
        pinned = self._port.pinned(value)
        if pinned is not None:
            return pinned
        joint = together(list(requirements.values()))
        refusal = self._why_not(value, requirements, joint)
        if refusal is None:
            return joint
        confined = {
            (node, slot): rules.where_shown(self.meaning(node), slot, affine)
            for (node, slot), affine in requirements.items()
        }
        if all(confined[use] is affine for use, affine in requirements.items()) or not picks.choose((False, True)):
            return refusal
        joint = together(list(confined.values()))
        return self._why_not(value, requirements, joint) or joint

    def _why_not(self, value: V, requirements: Mapping[tuple[N, int], Affine], joint: Affine) -> Refusal | None:
        """Which reader of a tensor would get another map of it than it wants."""
        nothing = identity(joint.rank)
        others = [
            node
            for node, slot in self._port.readers(value)
            if (node, slot) not in requirements and rules.shows_a_difference(self.meaning(node), slot, joint, nothing)
        ]
        if others:
            evidence = f"{value.name!r} is also read by {named(others)}"
            return Refusal(Reason.OTHER_CONSUMERS, evidence, readers=first_labels(others))
        if any(
            rules.shows_a_difference(self.meaning(node), slot, joint, affine)
            for (node, slot), affine in requirements.items()
        ):
            return Refusal(Reason.OTHER_CONSUMERS, f"the readers of {value.name!r} would need different maps")
        return None

    def _absorbers_first(self, node: N, choices: tuple[Mapping[int, Affine], ...]) -> list[Mapping[int, Affine]]:
        if len(choices) == 1:
            return list(choices)
        return sorted(choices, key=lambda choice: not any(self._ends_at(node, index) for index in choice))

    def _ends_at(self, node: N, index: int) -> bool:
        producer = self._port.producer(tensor_at(self._port.inputs(node), index))
        if isinstance(producer, Refusal):
            return False
        meaning = self.meaning(producer)
        return isinstance(meaning, Absorber) and meaning.absorbs_output

    def _push_once(self, plan: Plan[N, V], origin: N, affine: Affine, rule: PushRule) -> Refusal | None:
        front = _Front[N, V]({}, {})
        start = tensor_at(self._port.outputs(origin), 0)
        if not self._port.readers(start) and self._port.pinned(start) is None:
            return Refusal(Reason.NO_READER, f"nothing reads {start.name!r}").along(Label(origin.label, origin.op))
        refusal = self._send_to_readers(front, start, affine, _Path(Label(origin.label, origin.op), None))
        while refusal is None and front.queue:
            node = front.pop()
            path = _Path(Label(node.label, node.op), front.node_paths[node])
            moved = rule(plan.meanings.get(node) or self.meaning(node), front.inputs[node])
            if isinstance(moved, Refusal):
                return moved.along(*path.labels())
            requirements = {index: part for index, part in moved.requirements.items() if not part.is_identity}
            plan.visit(node, moved, requirements)
            outputs = self._port.outputs(node)
            for index, part in requirements.items():
                value = outputs[index] if index < len(outputs) else None
                if value is None:  # a part that nobody holds
                    continue
                plan.changed[value] = None
                refusal = refusal or self._send_to_readers(front, value, part, path)
        return refusal

    def _send_to_readers(self, front: "_Front[N, V]", value: V, affine: Affine, path: _Path) -> Refusal | None:
        pinned = self._port.pinned(value)
        if pinned is not None:
            return pinned.along(*path.labels())
        readers = self._port.readers(value)
        for node, slot in readers:
            front.inputs.setdefault(node, {})[slot] = affine
            front.node_paths.setdefault(node, path)
            front.add(node, self._port.position(node))
        return None


@dataclass
class _Front(Generic[N, V]):
    """The edge of a plan that is being made: who still has to answer, in the order of the graph."""

    requirements: dict[V, dict[tuple[N, int], Affine]]
    paths: dict[V, _Path]
    inputs: dict[N, dict[int, Affine]] = field(default_factory=dict)
    node_paths: dict[N, _Path] = field(default_factory=dict)
    queue: list[tuple[tuple[int, ...], int, N]] = field(default_factory=list)
    queued: set[N] = field(default_factory=set)

    def add(self, node: N, order: tuple[int, ...]) -> None:
        if node not in self.queued:
            self.queued.add(node)
            heapq.heappush(self.queue, (order, len(self.queued), node))

    def pop(self) -> N:
        return heapq.heappop(self.queue)[2]


def together(maps: Sequence[Affine]) -> Affine:
    """All of several maps of one tensor, which act on other places of it where they are not the same."""
    joint, *rest = maps
    for affine in rest:
        joint = joint if affine.equals(joint) else joint.then(affine)
    return joint
