"""What the nodes of one graph mean, each of them read once until the graph changes."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Generic

from bnfold.port import E, GraphPort, N, V
from bnfold.semantics import AffineMap, Concatenation, Contraction, Meaning


class Meanings(Generic[N, V, E]):
    """Decodes nodes as they are now, and remembers that. Whoever changes the graph has them forgotten.

    Args:
        port: the graph.
        planned: what some nodes mean behind a plan that is made by now, and goes before what is to be planned.

    Attributes:
        asked: the nodes that were asked for since somebody cleared this.
        changes: what has changed, and when.
    """

    def __init__(self, port: GraphPort[N, V, E], planned: Mapping[N, Meaning] | None = None) -> None:
        self._port = port
        self._planned = planned or {}
        self._known: dict[N, _Known] = {}
        self.asked: set[N] = set()
        self.changes: Changes[N, V, E] = Changes(port)

    def forget(self) -> None:
        """Read all nodes anew from now on: anything in the graph may have changed."""
        self._known.clear()
        self.changes.note_everything()

    def forget_around(self, nodes: Iterable[N], values: Iterable[V]) -> None:
        """Likewise, where it is known what is about to change; with one node, what its neighbours mean may.

        Args:
            nodes: that mean something else then, or are gone.
            values: tensors that hold other values then, or are called otherwise.
        """
        self.changes.note(nodes, values)

    def __call__(self, node: N) -> Meaning:
        """What a node means now."""
        self.asked.add(node)
        planned = self._planned.get(node)
        if planned is not None:
            return planned
        known = self._known.get(node)
        if known is None or not (known.at == self.changes.now or self._still_holds(node, known)):
            known = self._known[node] = _Known(self._port.decode(node), 0)
        known.at = self.changes.now
        return known.meaning

    def _still_holds(self, node: N, known: "_Known") -> bool:
        """Whether a meaning is of a node's own attributes and constants alone, and these are what they were.

        A constant that others read as well is no reason for doubt: a fold copies it.
        """
        own = isinstance(known.meaning, (AffineMap, Concatenation, Contraction))
        return own and self.changes.kept(node, known.at)

    def after(self, planned: Mapping[N, Meaning]) -> "Meanings[N, V, E]":
        """What nodes mean behind a plan: these, and what is known of the others.

        Args:
            planned: what some nodes mean then.
        """
        later: Meanings[N, V, E] = Meanings(self._port, planned)
        later._known, later.asked, later.changes = self._known, self.asked, self.changes
        return later


@dataclass
class _Known:
    """A meaning, and when it was last right."""

    meaning: Meaning
    at: int


class Changes(Generic[N, V, E]):
    """Remembers when nodes and tensors last changed: a count of all changes so far.

    Args:
        port: the graph.
    """

    def __init__(self, port: GraphPort[N, V, E]) -> None:
        self._port = port
        self._everything = 0
        self._nodes: dict[N, int] = {}
        self._values: dict[V, int] = {}
        self.now = 0

    def note_everything(self) -> None:
        """Anything may have changed."""
        self.now += 1
        self._everything = self.now

    def note(self, nodes: Iterable[N], values: Iterable[V]) -> None:
        """These nodes are about to change, all tensors that they touch, and these tensors."""
        self.now += 1
        for node in nodes:
            self._nodes[node] = self.now
            self._values.update((value, self.now) for value in self._touched_by(node))
        self._values.update((value, self.now) for value in values)

    def kept(self, node: N, since: int) -> bool:
        """Whether a node is what it was, whatever became of its neighbours."""
        return max(self._everything, self._nodes.get(node, 0)) <= since

    def left_alone(self, nodes: Iterable[N], since: int) -> bool:
        """Whether no node of these has changed, and no tensor that one of them touches."""
        if self._everything > since:
            return False
        return all(
            self._nodes.get(node, 0) <= since
            and all(self._values.get(value, 0) <= since for value in self._touched_by(node))
            for node in nodes
        )

    def _touched_by(self, node: N) -> list[V]:
        both = (*self._port.inputs(node), *self._port.outputs(node))
        return [value for value in both if value is not None]
