"""Parallel branches that are linear in one tensor become one operator. Planned whole, then carried out, like a fold.

Every merge removes an operator, or an operand of a sum of many, and adds no multiply-add, so this ends.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Generic

import numpy as np

from bnfold.int8 import weight_range
from bnfold.label import Label
from bnfold.meanings import Meanings
from bnfold.merging.branches import Branch, BranchFinder, SumTree
from bnfold.merging.choice import Choice, choose, choose_chain
from bnfold.merging.commit import Commit
from bnfold.merging.linear import Linear, compute, grows
from bnfold.merging.pruning import prune
from bnfold.outcome import Apart, Change, Merge, Quantization
from bnfold.port import E, GraphPort, N, V
from bnfold.refusal import Reason, Refusal
from bnfold.rules.merge import multiply_adds
from bnfold.semantics import Contraction

__all__ = ["Merged", "Merger"]


@dataclass(frozen=True, eq=False)
class Merged(Generic[N]):
    """A merge that was carried out.

    Attributes:
        merge: for the report.
        host: the operator that stays.
        maps: BatchNorms and other affine nodes that were part of it.
        gone: all operators that are gone, the maps among them.
    """

    merge: Merge
    host: N
    maps: tuple[N, ...]
    gone: frozenset[N]


class Merger(Generic[N, V, E]):
    """Merges branches of one graph.

    Args:
        port: the graph; it is changed in place.
        meanings: what its nodes mean.
        affine_nodes: let Mul, Add, Sub and Div by constants be part of a branch as well, not BatchNorms alone.
    """

    def __init__(self, port: GraphPort[N, V, E], meanings: Meanings[N, V, E], *, affine_nodes: bool) -> None:
        self._port = port
        self._meaning = meanings
        self._affine_nodes = affine_nodes
        self._finder: BranchFinder[N, V, E] = BranchFinder(port, meanings)
        self._commit: Commit[N, V, E] = Commit(port)
        self._apart: dict[N, Apart] = {}

    @property
    def apart(self) -> tuple[Apart, ...]:
        """The sums of the last pass that have branches of one tensor which stay apart."""
        return tuple(self._apart.values())

    def run(self) -> list[Merged[N]]:
        """One pass over the graph: merge all that can be merged now."""
        self._apart = {}
        # Numbers beyond float64 become infinite here, and are refused when they are rounded.
        with np.errstate(over="ignore", invalid="ignore"):
            return [*self._merge_sums(), *self._merge_pairs()]

    def _merge_sums(self) -> Iterator[Merged[N]]:
        for root in self._finder.roots():
            found = self._merge_one(self._finder.tree(root))
            while isinstance(found, Merged):
                yield found
                if root in found.gone:
                    break
                found = self._merge_one(self._finder.tree(root))
            else:
                if found:
                    self._apart[root] = Apart(_label(root), tuple(found), self._port.number(root))

    def _merge_one(self, tree: SumTree[N, V]) -> Merged[N] | list[Refusal]:
        """Merge some branches of a tree, or say what keeps them apart."""
        refusals: list[Refusal] = []
        for group in tree.groups():
            if len(group) < 2 or not any(branch.steps for branch in group):
                continue
            rewritten = self._port.rewritten(group[0].source)
            if rewritten is not None:
                refusals.append(rewritten.along(_label(tree.root)))
                continue
            branches, against = self._computed(group)
            choice = choose(branches)
            if isinstance(choice, Choice):
                merged = self._merge_choice(tree, choice)
                if isinstance(merged, Merged):
                    return merged
                against.append(merged)
            else:
                against += choice
            refusals += against
        return [*refusals, *self._finder.kept_apart(tree)]

    def _computed(self, group: list[Branch[N, V]]) -> tuple[list[Linear[N, V]], list[Refusal]]:
        found = [compute(self._port, self._meaning, branch, affine_nodes=self._affine_nodes) for branch in group]
        return (
            [entry for entry in found if not isinstance(entry, Refusal)],
            [entry for entry in found if isinstance(entry, Refusal)],
        )

    def _merge_choice(self, tree: SumTree[N, V], choice: Choice[N, V]) -> Merged[N] | Refusal:
        kept, *dropped = [linear.branch for linear in choice.branches]
        pruning = prune(tree, kept, dropped)
        if isinstance(pruning, Refusal):
            return pruning
        replaced = [(node, left[0]) for node, left in pruning.left.items() if len(left) == 1]
        obstacle = self._obstacle([*self._other_steps(kept, choice.host), *replaced])
        if obstacle is not None:
            return obstacle
        signed = choice.with_sign(kept.sign if len(pruning.left[kept.into]) > 1 else 1.0)
        if isinstance(signed, Refusal):
            return signed
        gone = [node for branch in (kept, *dropped) for node in branch.steps if node is not choice.host]
        gone += [branch.behind.node for branch in dropped if branch.behind is not None]
        gone += pruning.removed
        edit = self._edit(signed, len(gone))
        if isinstance(edit, Refusal):
            return edit
        merged = self._merged(choice, tree.root, gone, edit)
        self._meaning.forget_around((*tree.sums, *(node for branch in (kept, *dropped) for node in branch.nodes)), ())
        self._commit.sum(tree, choice.host, kept, dropped, pruning, edit)
        return merged

    def _obstacle(self, bypassed: Iterable[tuple[N, int | None]]) -> Refusal | None:
        """What keeps one of these nodes from going in favour of the input with this index."""
        for node, slot in bypassed:
            refusal = None if slot is None else self._port.why_not_bypassed(node, slot)
            if refusal is not None:
                return refusal.along(_label(node))
        return None

    def _other_steps(self, branch: Branch[N, V], host: N) -> list[tuple[N, int | None]]:
        """The operators of a branch in place of which its host will stand, with the input in which they are linear."""
        return [(step, self._port.linear_input(step)) for step in branch.steps if step is not host]

    def _merge_pairs(self) -> Iterator[Merged[N]]:
        gone: set[N] = set()
        for node in list(self._port.nodes()):
            last: N | None = node
            while last is not None and last not in gone:
                pair = self._finder.pair(last)
                merged = None if pair is None else self._merge_pair(pair)
                last = None if merged is None else merged.host  # which may make a pair with the one before it
                if merged is not None:
                    gone |= merged.gone
                    yield merged

    def _merge_pair(self, pair: Branch[N, V]) -> Merged[N] | None:
        first, second = (self._meaning(node) for node in pair.steps)
        if not (isinstance(first, Contraction) and isinstance(second, Contraction)) or grows(first, second):
            return None
        linear = compute(self._port, self._meaning, pair, affine_nodes=self._affine_nodes)
        choice = linear if isinstance(linear, Refusal) else choose_chain(linear)
        if not isinstance(choice, Choice) or self._obstacle(self._other_steps(pair, choice.host)) is not None:
            return None
        edit = self._edit(choice, 1)
        if isinstance(edit, Refusal):
            return None
        merged = self._merged(choice, choice.host, [node for node in pair.steps if node is not choice.host], edit)
        self._meaning.forget_around(pair.nodes, ())
        self._commit.chain(pair, choice.host, edit)
        return merged

    def _edit(self, choice: Choice[N, V], gone: int) -> E | Refusal:
        edit = self._port.encode_merged(choice.host, choice.before, choice.after)
        if isinstance(edit, Refusal):
            return edit.along(_label(choice.host))
        added = self._port.added_nodes(edit)
        if added and added >= gone:
            evidence = f"{choice.host.op} has no bias, and an addition would cost as much as what goes"
            return Refusal(Reason.NO_BIAS, evidence, path=(_label(choice.host),))
        return edit

    def _merged(self, choice: Choice[N, V], node: N, gone: list[N], edit: E) -> Merged[N]:
        """What will have been done; `node` makes the tensor that keeps its values."""
        added, output = self._port.added_nodes(edit), self._port.outputs(node)[0]
        after = choice.after.weight
        merge = Merge(
            node=_label(node),
            into=_label(choice.host),
            gone=tuple(map(_label, gone)),
            tensor="" if output is None else output.name,
            branches=len(choice.branches),
            multiply_adds=Change(choice.multiply_adds, multiply_adds(choice.after)),
            parameters=Change(choice.parameters, multiply_adds(choice.after)),
            operators=Change(len(gone) + 1, 1 + added),
            quantization=Quantization(
                _label(choice.host), weight_range(choice.weights, after), weight_range([after], after)
            ),
            number=self._port.number(node),
        )
        maps = tuple(node for branch in choice.branches for node in branch.maps)
        return Merged(merge, choice.host, maps, frozenset(gone))


def _label(node: N) -> Label:
    return Label(node.label, node.op)
