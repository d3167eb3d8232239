"""Topology: where each affine node's map can go. Plans whole, then commits: nothing is ever half moved.

Every commit removes one affine node, so the process ends; passes repeat until one changes nothing, because a fold can
open the way for a neighbour that was refused before.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Generic, TypeAlias

import numpy as np

from bnfold import rules
from bnfold.affine import Affine
from bnfold.errors import InternalError
from bnfold.plan import Direction, Fold, Kept, Outcome
from bnfold.port import E, GraphPort, N, Node, V
from bnfold.refusal import Reason, Refusal
from bnfold.semantics import AffineMap, Contraction, Form, Meaning, Opaque

_Rule: TypeAlias = Callable[[Meaning, Affine], rules.Moved | Refusal]
_HINT_CONSUMERS = "let the other node read the output of the BatchNorm, or give it an operator of its own"


@dataclass
class _Move(Generic[E]):
    """A planned way out for one affine node."""

    direction: Direction
    form: Form
    edits: list[E] = field(default_factory=list)
    into: list[str] = field(default_factory=list)
    through: list[str] = field(default_factory=list)
    amplification: float = 0.0


def fold_graph(port: GraphPort[N, V, E], *, affine_nodes: bool = True) -> Outcome:
    """Fold every affine node that can be folded.

    Args:
        port: the graph; it is changed in place.
        affine_nodes: fold Mul, Add, Sub and Div by constants as well, not BatchNorms alone.

    Returns:
        Every BatchNorm, and every other affine node where those were asked for, in the order of the graph.
    """
    return _Engine(port, affine_nodes).run()


class _Engine(Generic[N, V, E]):
    def __init__(self, port: GraphPort[N, V, E], affine_nodes: bool) -> None:
        self._port = port
        self._affine_nodes = affine_nodes

    def run(self) -> Outcome:
        order = waiting = self._candidates()
        results: dict[N, Fold | Kept] = {}
        progress = True
        while waiting and progress:
            # Numbers beyond float64 become infinite here, and are refused when they are rounded.
            with np.errstate(over="ignore", invalid="ignore"):
                new = {node: self._fold(node) for node in waiting}
            results.update(new)
            progress = any(isinstance(entry, Fold) for entry in new.values())
            # Asked anew, because a fold can leave an addition behind that the next pass moves on.
            waiting = self._candidates()
        found = [results[node] for node in order]
        return Outcome(
            folds=tuple(entry for entry in found if isinstance(entry, Fold)),
            kept=tuple(entry for entry in found if isinstance(entry, Kept)),
        )

    def _candidates(self) -> list[N]:
        return [node for node in self._port.nodes() if self._is_candidate(node)]

    def _is_candidate(self, node: N) -> bool:
        if node.is_batch_norm:
            return True
        return self._affine_nodes and isinstance(self._port.decode(node), AffineMap)

    def _fold(self, node: N) -> Fold | Kept:
        meaning = self._port.decode(node)
        if not isinstance(meaning, AffineMap):
            return _kept(node, [_why_not_affine(meaning).along(node.label)])
        refusals = []
        for plan, bypass in (
            (self._plan_upstream, self._port.bypass_upstream),
            (self._plan_downstream, self._port.bypass_downstream),
        ):
            move = plan(node, meaning)
            if isinstance(move, Refusal):
                refusals.append(move)
                continue
            tensor = self._output(node).name
            for edit in move.edits:
                self._port.apply(edit)
            bypass(node, meaning.source)
            return Fold(
                node=node.label,
                op=node.op,
                is_batch_norm=node.is_batch_norm,
                tensor=tensor,
                direction=move.direction,
                into=tuple(move.into),
                through=tuple(move.through),
                amplification=move.amplification,
            )
        return _kept(node, refusals)

    def _plan_upstream(self, origin: N, meaning: AffineMap) -> _Move[E] | Refusal:
        move: _Move[E] = _Move("upstream", meaning.form)
        waiting: list[tuple[V, Affine, N, tuple[str, ...]]] = [
            (self._input(origin, meaning.source), meaning.affine, origin, (origin.label,))
        ]
        while waiting:
            value, affine, reader, path = waiting.pop()
            producer = self._port.producer(value)
            if isinstance(producer, Refusal):
                return producer.along(*path)
            path = (*path, producer.label)
            moved = self._step(move, producer, rules.pull, affine)
            if isinstance(moved, Refusal):
                return moved.along(*path)
            held = self._read_by_others(value, reader)
            if held is not None:
                return held.along(*path)
            waiting += [
                (self._input(producer, index), demand, producer, path) for index, demand in moved.demands.items()
            ]
        return move

    def _plan_downstream(self, origin: N, meaning: AffineMap) -> _Move[E] | Refusal:
        move: _Move[E] = _Move("downstream", meaning.form)
        value = self._output(origin)
        readers = self._port.readers(value)
        pinned = self._port.pinned(value)
        if pinned is not None:
            return pinned.along(origin.label)
        if not readers:
            return Refusal(Reason.NO_READER, f"nothing reads {value.name!r}").along(origin.label)
        for reader, _ in readers:
            moved = self._step(move, reader, rules.push, meaning.affine)
            if isinstance(moved, Refusal):
                return moved.along(origin.label, reader.label)
        return move

    def _step(self, move: _Move[E], node: N, rule: _Rule, affine: Affine) -> rules.Moved | Refusal:
        """Ask one node to take a map, and add what follows to the move."""
        before = self._port.decode(node)
        moved = rule(before, affine)
        if isinstance(moved, Refusal):
            return moved
        if moved.meaning is not None:
            refusal = _costs_as_much(move.form, before, moved.meaning)
            edit = refusal or self._port.encode(node, moved.meaning)
            if isinstance(edit, Refusal):
                return edit
            move.edits.append(edit)
            move.amplification = max(move.amplification, _amplification(before, moved.meaning))
        (move.through if moved.demands else move.into).append(node.label)
        return moved

    def _read_by_others(self, value: V, reader: N) -> Refusal | None:
        pinned = self._port.pinned(value)
        if pinned is not None:
            return pinned
        readers = [node for node, _ in self._port.readers(value)]
        others = [node for node in readers if node is not reader]
        if others:
            names = ", ".join(f"{node.label!r} ({node.op})" for node in others[:3])
            return Refusal(Reason.OTHER_CONSUMERS, f"{value.name!r} is also read by {names}", hint=_HINT_CONSUMERS)
        if len(readers) > 1:
            return Refusal(Reason.OTHER_CONSUMERS, f"{reader.label!r} reads {value.name!r} {len(readers)} times")
        return None

    def _add_step(self, move: _Move[E], node: N, before: Meaning, moved: rules.Moved) -> Refusal | None:
        if moved.meaning is not None:
            edit = self._port.encode(node, moved.meaning)
            if isinstance(edit, Refusal):
                return edit
            move.edits.append(edit)
            move.amplification = max(move.amplification, _amplification(before, moved.meaning))
        (move.through if moved.demands else move.into).append(node.label)
        return None

    def _input(self, node: N, index: int) -> V:
        value = self._port.inputs(node)[index]
        if value is None:
            raise InternalError(f"node {node.label!r} has no input {index}, but its meaning reads it")
        return value

    def _output(self, node: N) -> V:
        value = self._port.outputs(node)[0]
        if value is None:
            raise InternalError(f"node {node.label!r} has no first output")
        return value


def _kept(node: Node, refusals: Sequence[Refusal]) -> Kept:
    return Kept(node=node.label, op=node.op, is_batch_norm=node.is_batch_norm, refusals=tuple(refusals))


def _why_not_affine(meaning: Meaning) -> Refusal:
    if isinstance(meaning, Opaque):
        return rules.refuse(meaning)
    raise InternalError(f"a BatchNorm was decoded as {type(meaning).__name__}")


def _costs_as_much(form: Form, before: Meaning, after: Meaning) -> Refusal | None:
    """An Add would only become another Add: the bias of an operator that has no room for one."""
    if form is not Form.SHIFT or not isinstance(before, Contraction) or not isinstance(after, Contraction):
        return None
    if before.holds_bias or before.bias is not None or after.bias is None:
        return None
    return Refusal(Reason.NO_BIAS, "an addition is the cheapest bias that the operator before it can have")


def _amplification(before: Meaning, after: Meaning) -> float:
    """max|W'| / max|W|, or 1 where nothing can grow."""
    old, new = (_largest_factor(meaning) for meaning in (before, after))
    return new / old if old > 0 else 1.0


def _largest_factor(meaning: Meaning) -> float:
    match meaning:
        case Contraction():
            return float(np.abs(meaning.weight).max(initial=0.0))
        case AffineMap():
            return float(np.abs(meaning.affine.scale).max(initial=0.0))
        case Opaque():
            return 0.0
