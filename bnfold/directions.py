"""The ways out of one affine node: upstream, downstream, or its scale one way and its shift the other."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Generic

from bnfold import rules
from bnfold.affine import Affine
from bnfold.outcome import Direction
from bnfold.planning import Plan, Planner, PushRule
from bnfold.port import E, GraphPort, N, V, result_of
from bnfold.refusal import Reason, Refusal
from bnfold.semantics import Absorber, AffineMap, Form, Meaning


class Directions(Generic[N, V, E]):
    """Plans for one affine node, made as they are asked for.

    Args:
        port: the graph.
        planner: of the graph as it is now.
        node: the affine node.
        meaning: what it means.
    """

    def __init__(self, port: GraphPort[N, V, E], planner: Planner[N, V, E], node: N, meaning: AffineMap) -> None:
        self._port, self._planner, self._node, self._meaning = port, planner, node, meaning
        self._scale, self._shift = meaning.affine.scale_alone(), meaning.affine.shift_alone()

    def __iter__(self) -> Iterator[tuple[Direction, Plan[N, V] | Refusal]]:
        """The ways out, the preferred first. A scale and a shift are planned one after the other.

        Upstream, the node's input first takes the scale, then the shift on top. Downstream, the readers first lose the
        shift, then the scale under it.
        """
        if self._meaning.affine.is_identity:
            yield "removed", self._port.pinned(result_of(self._port, self._node)) or Plan()
            return
        scaled = self._pull_scale()
        if isinstance(scaled, Refusal) or not self._shift.has_shift:
            yield "upstream", scaled
        else:
            yield "upstream", self._planner.pull(scaled, self._node, self._meaning.source, self._shift)
        shifted = self._push_shift(rules.push)
        if isinstance(shifted, Refusal):
            yield "downstream", shifted
            return
        yield "downstream", self._push_scale(shifted)
        if isinstance(scaled, Refusal) and scaled.reason is Reason.GRAPH_INPUT and not self._shift.has_shift:
            past = self._planner.push(Plan(), self._node, self._scale, rule=rules.push_past_additions)
            yield from () if isinstance(past, Refusal) else (("downstream", past),)
        if self._scale.has_scale and self._shift.has_shift and not isinstance(scaled, Refusal):
            yield "both", self._planner.push(scaled, self._node, self._shift)
        gaining = [target for target in shifted.meanings if _needs_node_for_bias(self._planner.meaning(target))]
        if gaining:
            yield from self._past_products(scaled, gaining)

    def _pull_scale(self) -> Plan[N, V] | Refusal:
        if not self._scale.has_scale:
            return Plan()
        return self._planner.pull(Plan(), self._node, self._meaning.source, self._scale)

    def _push_shift(self, rule: PushRule) -> Plan[N, V] | Refusal:
        return self._planner.push(Plan(), self._node, self._shift, rule=rule) if self._shift.has_shift else Plan()

    def _push_scale(self, plan: Plan[N, V]) -> Plan[N, V] | Refusal:
        return self._planner.push(plan, self._node, self._scale) if self._scale.has_scale else plan

    def _past_products(
        self, scaled: Plan[N, V] | Refusal, gaining: Sequence[N]
    ) -> Iterator[tuple[Direction, Plan[N, V]]]:
        """Where products have no room for a bias, constants behind them may take what the shift makes there.

        Behind as many of them as possible: a BatchNorm may leave one addition.
        """
        rule: PushRule = rules.push_past_products
        past = self._push_shift(rule)
        if isinstance(past, Refusal) and self._meaning.form is Form.SCALE_AND_SHIFT:
            stuck = self._before_which_it_stays(gaining)
            rule = self._past_all_but(stuck)
            past = self._push_shift(rule) if len(stuck) < len(gaining) else past
        if isinstance(past, Refusal):
            return
        down = self._push_scale(past)
        if not isinstance(down, Refusal):
            yield "downstream", down
        elif not isinstance(scaled, Refusal):
            both = self._planner.push(scaled, self._node, self._shift, rule=rule)
            if not isinstance(both, Refusal):
                yield "both", both

    def _before_which_it_stays(self, gaining: Sequence[N]) -> Sequence[N]:
        """Those of several products behind which nothing takes what the shift makes there."""
        stuck = []
        for target in gaining:
            rule = self._past_all_but([other for other in gaining if other is not target])
            if isinstance(self._push_shift(rule), Refusal):
                stuck.append(target)
        return stuck

    def _past_all_but(self, products: Sequence[N]) -> PushRule:
        """As `rules.push_past_products`, but these products take the shift with an addition of their own."""
        exempt = [self._planner.meaning(product) for product in products]

        def rule(meaning: Meaning, inputs: Mapping[int, Affine]) -> rules.Moved | Refusal:
            move = rules.push if any(meaning is other for other in exempt) else rules.push_past_products
            return move(meaning, inputs)

        return rule


def _needs_node_for_bias(meaning: Meaning) -> bool:
    return isinstance(meaning, Absorber) and meaning.needs_node_for_bias
