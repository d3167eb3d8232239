"""The choice of direction for each affine node, and the commit. Plans whole, then commits: nothing is ever half moved.

Every commit removes one affine node, so the process ends; passes repeat until one changes nothing, because a fold can
open the way for a neighbour that was refused before.
"""

from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, replace
from typing import Generic

import numpy as np

from bnfold import rules
from bnfold.affine import Affine
from bnfold.crossing import Crossing
from bnfold.errors import InternalError
from bnfold.growth import amplification, why_grown, worst_for_int8
from bnfold.label import Label
from bnfold.lowering import Lowering
from bnfold.merging import Merger
from bnfold.outcome import Direction, Fold, Kept, Lowered, LowerTo, Merge, Outcome
from bnfold.planning import Plan, Planner, PushRule
from bnfold.port import E, GraphPort, N, V
from bnfold.refusal import Reason, Refusal
from bnfold.semantics import Absorber, AffineMap, BroadcastScale, Form, Meaning, Opaque
from bnfold.surroundings import surroundings


def fold_graph(
    port: GraphPort[N, V, E],
    *,
    affine_nodes: bool = True,
    merge_branches: bool = True,
    across: bool = True,
    lower: LowerTo | None = None,
) -> Outcome:
    """Fold every affine node that can be folded, and merge parallel branches.

    Args:
        port: the graph; it is changed in place.
        affine_nodes: fold Mul, Add, Sub and Div by constants as well, not BatchNorms alone.
        merge_branches: merge parallel branches that are linear in one tensor.
        across: fold BatchNorms across tensors that others read, too.
        lower: what to rewrite those BatchNorms into that stay; None leaves them.

    Returns:
        Every BatchNorm, and every other affine node where those were asked for, in the order of the graph.
    """
    return _Engine(port, affine_nodes, merge_branches, across, lower).run()


@dataclass(frozen=True)
class _Move(Generic[N, V, E]):
    """A plan that can be carried out, its cost included."""

    direction: Direction
    plan: Plan[N, V]
    edits: list[E]
    added_nodes: int


class _Engine(Generic[N, V, E]):
    def __init__(
        self,
        port: GraphPort[N, V, E],
        affine_nodes: bool,
        merge_branches: bool,
        across: bool,
        lower: LowerTo | None,
    ) -> None:
        self._port = port
        self._affine_nodes = affine_nodes
        self._merger = Merger(port, affine_nodes=affine_nodes) if merge_branches else None
        self._crossing = Crossing(port, port.nodes()) if across else None
        crossing = self._crossing or (Crossing(port, ()) if lower is not None else None)
        self._lowering = Lowering(port, lower, crossing) if lower is not None and crossing is not None else None

    def run(self) -> Outcome:
        order = self._candidates()
        around = {node: surroundings(self._port, node) for node in order if node.is_batch_norm}
        results: dict[N, Fold | Kept] = {}
        merges: list[Merge] = []
        progress = True
        while progress:
            self._fold_all(results)
            self._merge_all(results, merges)
            progress = self._fold_across(results) or self._lower(results)
        left = set(self._port.nodes())
        found = [
            replace(
                self._in_the_end(node, results[node], left),
                number=self._port.number(node),
                surroundings=around.get(node),
            )
            for node in order
        ]
        return Outcome(
            folds=tuple(entry for entry in found if isinstance(entry, Fold)),
            kept=tuple(entry for entry in found if isinstance(entry, Kept)),
            merges=tuple(merges),
            apart=self._merger.apart if self._merger is not None else (),
            lowered=tuple(entry for entry in found if isinstance(entry, Lowered)),
        )

    def _in_the_end(self, node: N, result: Fold | Kept, left: Set[N]) -> Fold | Kept | Lowered:
        """What became of a node, when nothing is left to do."""
        lowered = self._lowering.result(node, left) if self._lowering is not None else None
        if lowered is not None:
            return lowered
        return self._computed(node) if isinstance(result, Kept) and node not in left else result

    def _fold_all(self, results: dict[N, Fold | Kept]) -> None:
        """Fold what can be folded now, and note what became of every node."""
        waiting = self._candidates()
        progress = True
        while waiting and progress:
            # Numbers beyond float64 become infinite here, and are refused when they are rounded.
            with np.errstate(over="ignore", invalid="ignore"):
                new = self._fold_each(waiting)
            results.update(new)
            progress = any(isinstance(entry, Fold) for entry in new.values())
            # Asked anew, because a fold can leave an addition behind that the next pass moves on.
            waiting = self._candidates()

    def _merge_all(self, results: dict[N, Fold | Kept], merges: list[Merge]) -> None:
        """Merge parallel branches; what is behind a sum can fold into what the sum has become."""
        while self._merger is not None and (merged := self._merger.run()):
            merges += [entry.merge for entry in merged]
            results |= {node: self._gone_with(node, entry.merge.into) for entry in merged for node in entry.maps}
            self._fold_all(results)

    def _fold_across(self, results: dict[N, Fold | Kept]) -> bool:
        """Fold BatchNorms across tensors that others read. Where one stays, what stops that is its last reason."""
        if self._crossing is None:
            return False
        progress = False
        self._crossing.begin_pass()
        for node in self._candidates():
            kept = results[node]
            if not node.is_batch_norm or not isinstance(kept, Kept) or self._port.why_it_stays(node) is not None:
                continue
            meaning = self._port.decode(node)
            if not isinstance(meaning, AffineMap):
                continue
            with np.errstate(over="ignore", invalid="ignore"):
                found = self._crossing.fold(node, meaning)
            progress = progress or isinstance(found, Fold)
            results[node] = found if isinstance(found, Fold) else _with_last_reason(kept, found)
        return progress

    def _lower(self, results: dict[N, Fold | Kept]) -> bool:
        """Rewrite the BatchNorms that stay, in the order of the graph; whether any was."""
        if self._lowering is None:
            return False
        progress = False
        self._lowering.begin_pass()
        for node in self._candidates():
            kept = results[node]
            if not node.is_batch_norm or not isinstance(kept, Kept):
                continue
            with np.errstate(over="ignore", invalid="ignore"):
                stays = self._lowering.lower(kept, node)
            progress = progress or stays is None
            results[node] = stays or kept
        return progress

    def _fold_each(self, nodes: list[N]) -> dict[N, Fold | Kept]:
        """One attempt for each node; what would go into a BatchNorm comes after it, which may fold into the node."""
        untried = {node for node in nodes if node.is_batch_norm}
        results: dict[N, Fold | Kept] = {}
        late: list[N] = []
        for node in nodes:
            untried.discard(node)
            result = self._fold(node, untried)
            if result is None:
                late.append(node)
            else:
                results[node] = result
        for node in late:
            result = self._fold(node, set())
            if result is not None:
                results[node] = result
        return results

    def _gone_with(self, node: N, host: str) -> Fold:
        """A node that was part of a branch."""
        label, tensor = Label(node.label, node.op), self._output(node).name
        return Fold(label, node.op, node.is_batch_norm, tensor, "branch", into=(host,), through=(), amplification=1.0)

    def _computed(self, node: N) -> Fold:
        """A node that only helped to compute a weight, and is gone with the fold that took the weight's values."""
        label, tensor = Label(node.label, node.op), self._output(node).name
        return Fold(label, node.op, node.is_batch_norm, tensor, "computed", into=(), through=(), amplification=1.0)

    def _candidates(self) -> list[N]:
        return [node for node in self._port.nodes() if self._is_candidate(node)]

    def _is_candidate(self, node: N) -> bool:
        if node.is_batch_norm:
            return True
        if not self._affine_nodes or not node.may_be_affine:
            return False
        return isinstance(self._port.decode(node), AffineMap) or self._port.why_it_stays(node) is not None

    def _goes_far(self, batch_norm: N) -> bool:
        """Whether a BatchNorm folds past arithmetic with constants; of a chain of that alone it shall be left."""
        planner: Planner[N, V, E] = Planner(self._port)
        meaning = planner.meaning(batch_norm)
        plans = self._plans(planner, batch_norm, meaning) if isinstance(meaning, AffineMap) else ()
        for _, plan in plans:
            if not isinstance(plan, Refusal):
                return any(not isinstance(planner.meaning(node), AffineMap) for node in (*plan.into, *plan.through))
        return False

    def _fold(self, node: N, untried: Set[N]) -> Fold | Kept | None:
        """Fold a node, or say why it stays; None, and nothing done, if a BatchNorm of `untried` shall come first."""
        planner: Planner[N, V, E] = Planner(self._port)
        stays = self._port.why_it_stays(node)
        if stays is not None:
            return _kept(node, [stays.along(Label(node.label, node.op))])
        meaning = planner.meaning(node)
        if not isinstance(meaning, AffineMap):
            return _kept(node, [_why_not_affine(meaning).along(Label(node.label, node.op))])
        twin = self._port.twin(node, meaning)
        if twin is not None:
            return self._merge(node, meaning.source, twin)
        best: _Move[N, V, E] | None = None
        refusals: list[Refusal] = []
        for direction, plan in self._plans(planner, node, meaning):
            move = plan if isinstance(plan, Refusal) else self._priced(planner, node, meaning, direction, plan)
            if isinstance(move, Refusal):
                refusals.append(_going(move, direction))
            elif best is None or move.added_nodes < best.added_nodes:
                best = move
            if best is not None and best.added_nodes == 0:
                break
        if best is None:
            return _kept(node, refusals)
        if not node.is_batch_norm and any(target in untried and self._goes_far(target) for target in best.plan.into):
            return None
        fold = self._folded(planner, node, best)
        self._commit(node, meaning, best)
        return fold

    def _folded(self, planner: Planner[N, V, E], node: N, move: _Move[N, V, E]) -> Fold:
        plan = move.plan
        changes = [(target, planner.meaning(target), after) for target, after in plan.meanings.items()]
        return Fold(
            node=Label(node.label, node.op),
            op=node.op,
            is_batch_norm=node.is_batch_norm,
            tensor=self._output(node).name,
            direction=move.direction,
            into=tuple(Label(target.label, target.op) for target in plan.into),
            through=tuple(Label(target.label, target.op) for target in plan.through if target not in plan.into),
            amplification=max((amplification(before, after) for _, before, after in changes), default=1.0),
            dead_channels=sum(self._port.dead_channels(edit) for edit in move.edits),
            added_nodes=move.added_nodes,
            quantization=worst_for_int8(
                (
                    change
                    for change, edit in zip(changes, move.edits, strict=True)
                    if not self._port.keeps_integers(edit)
                ),
                move.direction,
            ),
        )

    def _merge(self, node: N, source: int, twin: N) -> Fold:
        """Two readers of a tensor that want the same map get it from one node, which may fold as their only reader."""
        label, kept, tensor = Label(node.label, node.op), Label(twin.label, twin.op), self._output(node).name
        self._port.merge(node, source, twin)
        return Fold(label, node.op, node.is_batch_norm, tensor, "merged", into=(kept,), through=(), amplification=1.0)

    def _plans(
        self, planner: Planner[N, V, E], node: N, meaning: AffineMap
    ) -> Iterator[tuple[Direction, Plan[N, V] | Refusal]]:
        """The ways out, the preferred first. A scale and a shift are planned one after the other.

        Upstream, the node's input first takes the scale, then the shift on top. Downstream, the readers first lose the
        shift, then the scale under it.
        """
        scale, shift = meaning.affine.scale_alone(), meaning.affine.shift_alone()
        nothing: Plan[N, V] = Plan()
        if meaning.affine.is_identity:
            yield "removed", self._port.pinned(self._output(node)) or nothing
            return
        scaled = planner.pull(nothing, node, meaning.source, scale) if scale.has_scale else nothing
        if isinstance(scaled, Refusal) or not shift.has_shift:
            yield "upstream", scaled
        else:
            yield "upstream", planner.pull(scaled, node, meaning.source, shift)
        shifted = planner.push(nothing, node, shift) if shift.has_shift else nothing
        if isinstance(shifted, Refusal):
            yield "downstream", shifted
            return
        yield "downstream", planner.push(shifted, node, scale) if scale.has_scale else shifted
        if isinstance(scaled, Refusal) and scaled.reason is Reason.GRAPH_INPUT and not shift.has_shift:
            past = planner.push(nothing, node, scale, rule=rules.push_past_additions)
            yield from () if isinstance(past, Refusal) else (("downstream", past),)
        if scale.has_scale and shift.has_shift and not isinstance(scaled, Refusal):
            yield "both", planner.push(scaled, node, shift)
        if any(_needs_node_for_bias(planner.meaning(target)) for target in shifted.meanings):
            gaining = [target for target in shifted.meanings if _needs_node_for_bias(planner.meaning(target))]
            yield from self._plans_past_products(planner, node, meaning, scaled, gaining)

    def _plans_past_products(
        self,
        planner: Planner[N, V, E],
        node: N,
        meaning: AffineMap,
        scaled: Plan[N, V] | Refusal,
        gaining: Sequence[N],
    ) -> Iterator[tuple[Direction, Plan[N, V]]]:
        """Where products have no room for a bias, constants behind them may take what the shift makes there.

        Behind as many of them as possible: a BatchNorm may leave one addition.
        """
        scale, shift = meaning.affine.scale_alone(), meaning.affine.shift_alone()
        rule: PushRule = rules.push_past_products
        past = planner.push(Plan(), node, shift, rule=rule)
        if isinstance(past, Refusal) and meaning.form is Form.SCALE_AND_SHIFT:
            stuck = self._before_which_it_stays(planner, node, shift, gaining)
            rule = _past_all_but(planner, stuck)
            past = planner.push(Plan(), node, shift, rule=rule) if len(stuck) < len(gaining) else past
        if isinstance(past, Refusal):
            return
        down = planner.push(past, node, scale) if scale.has_scale else past
        if not isinstance(down, Refusal):
            yield "downstream", down
        elif not isinstance(scaled, Refusal):
            both = planner.push(scaled, node, shift, rule=rule)
            if not isinstance(both, Refusal):
                yield "both", both

    @staticmethod
    def _before_which_it_stays(planner: Planner[N, V, E], node: N, shift: Affine, gaining: Sequence[N]) -> Sequence[N]:
        """Those of several products behind which nothing takes what the shift makes there."""
        stuck = []
        for target in gaining:
            rule = _past_all_but(planner, [other for other in gaining if other is not target])
            if isinstance(planner.push(Plan(), node, shift, rule=rule), Refusal):
                stuck.append(target)
        return stuck

    def _priced(
        self,
        planner: Planner[N, V, E],
        node: N,
        meaning: AffineMap,
        direction: Direction,
        plan: Plan[N, V],
    ) -> _Move[N, V, E] | Refusal:
        """Encode a plan, and refuse what would make the graph longer, or only exchange one addition for another."""
        edits: list[E] = []
        for target, after in plan.meanings.items():
            grown = why_grown(meaning, planner.meaning(target), after)
            if grown is not None:
                return grown.along(Label(node.label, node.op), Label(target.label, target.op))
            edit = self._port.encode(target, after)
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

    def _commit(self, node: N, meaning: AffineMap, move: _Move[N, V, E]) -> None:
        changed = dict(move.plan.changed)
        before = self._port.inputs(node)[meaning.source]
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

    def _output(self, node: N) -> V:
        value = self._port.outputs(node)[0]
        if value is None:
            raise InternalError(f"node {node.label!r} has no first output")
        return value


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
        return Refusal(
            Reason.BROADCASTS_ACTIVATION, "its constant has taken a map along axes that the tensor does not have"
        )
    raise InternalError(f"a BatchNorm was decoded as {type(meaning).__name__}")


def _additions(count: int) -> str:
    return "1 addition" if count == 1 else f"{count} additions"


def _past_all_but(planner: Planner[N, V, E], products: Sequence[N]) -> PushRule:
    """As `rules.push_past_products`, but these products take the shift with an addition of their own."""
    exempt = [planner.meaning(product) for product in products]

    def rule(meaning: Meaning, inputs: Mapping[int, Affine]) -> rules.Moved | Refusal:
        move = rules.push if any(meaning is other for other in exempt) else rules.push_past_products
        return move(meaning, inputs)

    return rule


def _needs_node_for_bias(meaning: Meaning) -> bool:
    return isinstance(meaning, Absorber) and meaning.needs_node_for_bias


def _with_last_reason(kept: Kept, refusal: Refusal) -> Kept:
    """A node that others keep is told what keeps it even where these take the inverse, if that is something else."""
    said = {(entry.reason, entry.evidence) for entry in kept.refusals}
    of_others = any(reason in {Reason.OTHER_CONSUMERS, Reason.OTHER_BRANCH} for reason, _ in said)
    if not of_others or (refusal.reason, refusal.evidence) in said:
        return kept
    return replace(kept, refusals=(*kept.refusals, refusal.going("across")))
