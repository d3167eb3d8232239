"""Carries merges out: the host reads the tensor that all branches read, and everything else of them goes."""

from collections.abc import Iterable
from typing import Generic

from bnfold.errors import InternalError
from bnfold.merging.branches import Branch, SumTree
from bnfold.merging.pruning import Pruning
from bnfold.port import E, GraphPort, N, V, result_of


class Commit(Generic[N, V, E]):
    """Edits of one graph.

    Args:
        port: the graph; it is changed in place.
    """

    def __init__(self, port: GraphPort[N, V, E]) -> None:
        self._port = port

    def sum(
        self,
        tree: SumTree[N, V],
        host: N,
        kept: Branch[N, V],
        dropped: Iterable[Branch[N, V]],
        pruning: Pruning[N],
        edit: E,
    ) -> None:
        """Let the host of one branch stand for others as well.

        Args:
            tree: the sums.
            host: an operator of `kept`.
            kept: the branch that stays as the host alone.
            dropped: the branches that go.
            pruning: what is left of the sums.
            edit: of the host.
        """
        self._port.apply(edit)
        for step in kept.steps:
            if step is not host:
                self._bypass(step)
        alone, output = self._input(kept.into, kept.slot), result_of(self._port, tree.root)
        turned = [] if kept.behind is None else [self._input(kept.behind.node, 0)]
        successor = self._prune(tree, pruning)
        for leaf in dropped:
            for step in reversed(leaf.nodes):
                if not self._is_read(step):  # an order of axes that others use stays
                    self._port.remove(step)
        changed = [
            *turned,
            alone,
            *(result_of(self._port, node) for node in pruning.changed if len(pruning.left[node]) > 1),
        ]
        for value in changed:
            if value is not successor and value is not output:
                self._port.rename(value)

    def chain(self, chain: Branch[N, V], host: N, edit: E) -> None:
        """Let the host stand for all operators in a row; the last one's output keeps its name."""
        self._port.apply(edit)
        *others, last = chain.steps
        for step in others:
            if step is not host:
                self._bypass(step)
        if last is not host:
            self._port.bypass_upstream(last, self._linear_input(last))

    def _prune(self, tree: SumTree[N, V], pruning: Pruning[N]) -> V | None:
        """Take operands off; the tensor that is called like the root's output from now on, where the root goes."""
        successor: V | None = None
        empty: list[N] = []
        for node, left in pruning.left.items():
            if not left:
                empty.append(node)
            elif len(left) > 1:
                for slot in reversed(pruning.gone[node]):
                    self._port.drop_operand(node, slot)
            elif node is tree.root:
                successor = self._input(node, left[0])
                self._port.bypass_upstream(node, left[0])
            else:
                self._port.bypass_downstream(node, left[0])
        for node in reversed(empty):
            self._port.remove(node)
        return successor

    def _is_read(self, node: N) -> bool:
        values = [value for value in self._port.outputs(node) if value is not None]
        return any(self._port.readers(value) or self._port.pinned(value) for value in values)

    def _bypass(self, step: N) -> None:
        self._port.bypass_downstream(step, self._linear_input(step))

    def _linear_input(self, step: N) -> int:
        slot = self._port.linear_input(step)
        if slot is None:
            raise InternalError(f"{step.label!r} was part of a branch, and is none now")
        return slot

    def _input(self, node: N, slot: int) -> V:
        value = self._port.inputs(node)[slot]
        if value is None:
            raise InternalError(f"{node.label!r} has no input {slot}")
        return value
