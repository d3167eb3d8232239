"""One affine node at a time: the cheapest way out, its price, and the commit. Nothing is ever half moved."""

from collections.abc import Set
from dataclasses import dataclass, replace
from typing import Generic

from bnfold import rules
from bnfold.directions import Directions
from bnfold.errors import InternalError
from bnfold.growth import effects, why_grown
from bnfold.label import Label
from bnfold.meanings import Meanings
from bnfold.outcome import Direction, Fold, Kept
from bnfold.planning import Plan, Planner
from bnfold.port import E, GraphPort, N, V, result_of
from bnfold.refusal import Reason, Refusal
from bnfold.semantics import AffineMap, BroadcastScale, Form, Meaning, Opaque


@dataclass(frozen=True)
class _Move(Generic[N, V, E]):
    """A plan that can be carried out, its cost included."""

    direction: Direction
    plan: Plan[N, V]
    edits: list[E]
    added_nodes: int


class Folder(Generic[N, V, E]):
    """Folds one affine node after the other, upstream or downstream.

    Args:
        port: the graph; it is changed in place.
        meanings: what its nodes mean.
    """

    def __init__(self, port: GraphPort[N, V, E], meanings: Meanings[N, V, E]) -> None:
        self._port = port
        self._planner: Planner[N, V, E] = Planner(port, meanings)

    def fold(self, node: N, untried: Set[N]) -> Fold | Kept | None:
        """Fold a node, or say why it stays; None, and nothing done, if a BatchNorm of `untried` shall come first."""
        stays = self._port.why_it_stays(node)
        if stays is not None:
            return _kept(node, [stays.along(Label(node.label, node.op))])
        meaning = self._planner.meaning(node)
        if not isinstance(meaning, AffineMap):
            return _kept(node, [_why_not_affine(meaning).along(Label(node.label, node.op))])
        twin = self._port.twin(node, meaning)
        if twin is not None:
            return self._merge(node, meaning.source, twin)
        best = self._best(node, meaning)
        if not isinstance(best, _Move):
            return _kept(node, best)
        if not node.is_batch_norm and any(target in untried and self._goes_far(target) for target in best.plan.into):
            return None
        fold = self._folded(node, best)
        self._commit(node, meaning, best)
        return fold

    def _best(self, node: N, meaning: AffineMap) -> _Move[N, V, E] | list[Refusal]:
        """The first way out that adds no node, else the first of the cheapest; or why there is none."""
        best: _Move[N, V, E] | None = None
        refusals: list[Refusal] = []
        for direction, plan in Directions(self._port, self._planner, node, meaning):
            move = plan if isinstance(plan, Refusal) else self._priced(node, meaning, direction, plan)
            if isinstance(move, Refusal):
                refusals.append(_going(move, direction))
            elif best is None or move.added_nodes < best.added_nodes:
                best = move
            if best is not None and best.added_nodes == 0:
                break
        return best or refusals

    def _goes_far(self, batch_norm: N) -> bool:
        """Whether a BatchNorm folds past arithmetic with constants; of a chain of that alone it shall be left."""
        meaning = self._planner.meaning(batch_norm)
        if not isinstance(meaning, AffineMap):
            return False
        for _, plan in Directions(self._port, self._planner, batch_norm, meaning):
            if not isinstance(plan, Refusal):
                met = (*plan.into, *plan.through)
                return any(not isinstance(self._planner.meaning(node), AffineMap) for node in met)
        return False

    def _priced(self, node: N, meaning: AffineMap, direction: Direction, plan: Plan[N, V]) -> _Move[N, V, E] | Refusal:
        """Encode a plan, and refuse what would make the graph longer, or only exchange one addition for another."""
        edits: list[E] = []
        for target, after in plan.meanings.items():
            grown = why_grown(meaning, self._planner.meaning(target), after)
            edit = self._port.encode(target, after) if grown is None else grown
            if isinstance(edit, Refusal):
                return edit.along(Label(node.label, node.op), Label(target.label, target.op))
            edits.append(edit)
        added = sum(self._port.added_nodes(edit) for edit in edits)
        if added > (1 if meaning.form is Form.SCALE_AND_SHIFT else 0):
            gaining = next(
                target for target, edit in zip(plan.meanings, edits, strict=True) if self._port.added_nodes(edit)
            )
            return Refusal(
                Reason.NO_BIAS,
                f"{gaining.op} has no bias, and {_additions(added)} would cost as much as what goes",
            ).along(Label(node.label, node.op), Label(gaining.label, gaining.op))
        return _Move(direction, plan, edits, added)

    def _folded(self, node: N, move: _Move[N, V, E]) -> Fold:
        plan = move.plan
        changes = [(target, self._planner.meaning(target), after) for target, after in plan.meanings.items()]
        found = effects(self._port, changes, move.edits, move.direction)
        return Fold(
            node=Label(node.label, node.op),
            op=node.op,
            is_batch_norm=node.is_batch_norm,
            tensor=result_of(self._port, node).name,
            direction=move.direction,
            into=tuple(Label(target.label, target.op) for target in plan.into),
            through=tuple(Label(target.label, target.op) for target in plan.through if target not in plan.into),
            amplification=found.amplification,
            dead_channels=found.dead_channels,
            added_nodes=move.added_nodes,
            quantization=found.quantization,
        )

    def _merge(self, node: N, source: int, twin: N) -> Fold:
        """Two readers of a tensor that want the same map get it from one node, which may fold as their only reader."""
        tensor = result_of(self._port, node).name
        self._planner.meaning.forget_around((node, twin), ())
        self._port.merge(node, source, twin)
        return Fold(
            Label(node.label, node.op),
            node.op,
            node.is_batch_norm,
            tensor,
            "merged",
            into=(Label(twin.label, twin.op),),
            through=(),
            amplification=1.0,
        )

    def _commit(self, node: N, meaning: AffineMap, move: _Move[N, V, E]) -> None:
        changed = dict(move.plan.changed)
        before = self._port.inputs(node)[meaning.source]
        self._planner.meaning.forget_around((node, *move.plan.meanings), changed)
        for edit in move.edits:
            self._port.apply(edit)
        if move.direction == "upstream":
            if before is not None:
                changed.pop(before, None)
            self._port.bypass_upstream(node, meaning.source)
        else:
            self._port.bypass_downstream(node, meaning.source)
        for value in changed:
            self._port.rename(value)


def _going(refusal: Refusal, direction: Direction) -> Refusal:
    """A refusal of a plan, which says the way that its map was to go; a map that changes nothing was to go nowhere."""
    match direction:
        case "both":
            evidence = f"with the scale in front and the shift behind, {refusal.evidence}"
            return replace(refusal, evidence=evidence, way="both")
        case "upstream" | "downstream":
            return refusal.going(direction)
        case _:
            return refusal


def _kept(node: N, refusals: list[Refusal]) -> Kept:
    return Kept(node=Label(node.label, node.op), op=node.op, is_batch_norm=node.is_batch_norm, refusals=tuple(refusals))


def _why_not_affine(meaning: Meaning) -> Refusal:
    if isinstance(meaning, Opaque):
        return rules.refuse(meaning)
    if isinstance(meaning, BroadcastScale):
        return Refusal(Reason.BROADCASTS_ACTIVATION, "its constant varies along axes that the tensor does not have")
    raise InternalError(f"a BatchNorm was decoded as {type(meaning).__name__}")


def _additions(count: int) -> str:
    return "1 addition" if count == 1 else f"{count} nodes"
