"""What is tried in which order: folds, merges, folds across tensors that others read, lowering.

Every commit removes one affine node, so the process ends; passes repeat until one changes nothing, because a fold can
open the way for a neighbour that was refused before.
"""

from collections.abc import Set
from dataclasses import replace
from functools import partial
from typing import Generic

import numpy as np

from bnfold.crossing import Crossing
from bnfold.folding import Folder
from bnfold.label import Label
from bnfold.lowering import Lowering
from bnfold.meanings import Meanings
from bnfold.merging import Merger
from bnfold.outcome import Fold, Kept, Lowered, LowerTo, Merge, Outcome
from bnfold.port import E, GraphPort, N, V, result_of
from bnfold.refusal import Reason, Refusal
from bnfold.semantics import AffineMap
from bnfold.standing import Standing
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
        self._meaning: Meanings[N, V, E] = Meanings(port)
        self._folder = Folder(port, self._meaning)
        self._kept: Standing[N, V, E, Kept] = Standing(self._meaning, Kept)
        self._stopped: Standing[N, V, E, Refusal] = Standing(self._meaning, Refusal)
        self._merger = Merger(port, self._meaning, affine_nodes=affine_nodes) if merge_branches else None
        self._crossing = Crossing(port, self._meaning) if across else None
        crossing = self._crossing or (Crossing(port, self._meaning) if lower is not None else None)
        self._lowering = (
            Lowering(port, self._meaning, lower, crossing) if lower is not None and crossing is not None else None
        )

    def run(self) -> Outcome:
        order = self._candidates()
        around = {node: surroundings(self._port, node, self._meaning(node)) for node in order if node.is_batch_norm}
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
        if isinstance(result, Fold):
            return result
        return self._advised(node, result) if node in left else self._computed(node)

    def _advised(self, node: N, kept: Kept) -> Kept:
        """Of a BatchNorm that is to stay one, what would do in its place."""
        if self._crossing is None or self._lowering is not None or not node.is_batch_norm:
            return kept
        meaning = self._meaning(node)
        if not isinstance(meaning, AffineMap) or self._port.why_it_stays(node) is not None:
            return kept
        with np.errstate(over="ignore", invalid="ignore"):
            return replace(kept, would_do=self._crossing.one_operator_for(node, meaning))

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
        for node in self._candidates():
            kept = results[node]
            if not node.is_batch_norm or not isinstance(kept, Kept) or self._port.why_it_stays(node) is not None:
                continue
            meaning = self._meaning(node)
            if not isinstance(meaning, AffineMap):
                continue
            found = self._stopped.ask(node, partial(self._cross, node, meaning))
            progress = progress or isinstance(found, Fold)
            results[node] = found if isinstance(found, Fold) else _with_last_reason(kept, found)
        return progress

    def _cross(self, node: N, meaning: AffineMap) -> Fold | Refusal:
        if self._crossing is None:
            return Refusal(Reason.OTHER_CONSUMERS, "nothing is folded across tensors that others read")
        with np.errstate(over="ignore", invalid="ignore"):
            return self._crossing.fold(node, meaning)

    def _lower(self, results: dict[N, Fold | Kept]) -> bool:
        """Rewrite the BatchNorms that stay, in the order of the graph; whether any was."""
        if self._lowering is None:
            return False
        progress = False
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
            result = self._kept.ask(node, partial(self._folder.fold, node, untried))
            if result is None:
                late.append(node)
            else:
                results[node] = result
        for node in late:
            result = self._folder.fold(node, set())
            if result is not None:
                results[node] = result
        return results

    def _gone_with(self, node: N, host: str) -> Fold:
        """A node that was part of a branch."""
        label, tensor = Label(node.label, node.op), result_of(self._port, node).name
        return Fold(label, node.op, node.is_batch_norm, tensor, "branch", into=(host,), through=(), amplification=1.0)

    def _computed(self, node: N) -> Fold:
        """A node that only helped to compute a weight, and is gone with the fold that took the weight's values."""
        label, tensor = Label(node.label, node.op), result_of(self._port, node).name
        return Fold(label, node.op, node.is_batch_norm, tensor, "computed", into=(), through=(), amplification=1.0)

    def _candidates(self) -> list[N]:
        return [node for node in self._port.nodes() if self._is_candidate(node)]

    def _is_candidate(self, node: N) -> bool:
        if node.is_batch_norm:
            return True
        if not self._affine_nodes or not node.may_be_affine:
            return False
        return isinstance(self._meaning(node), AffineMap) or self._port.why_it_stays(node) is not None


def _with_last_reason(kept: Kept, refusal: Refusal) -> Kept:
    """A node that others keep is told what keeps it even where these take the inverse, if that is something else."""
    said = {(entry.reason, entry.evidence) for entry in kept.refusals}
    of_others = any(reason in {Reason.OTHER_CONSUMERS, Reason.OTHER_BRANCH} for reason, _ in said)
    if not of_others or (refusal.reason, refusal.evidence) in said:
        return kept
    return replace(kept, refusals=(*kept.refusals, refusal.going("across")))
