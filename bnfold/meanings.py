"""What the nodes of one graph mean, each of them read once until the graph changes."""

from collections.abc import Mapping
from typing import Generic

from bnfold.port import E, GraphPort, N, V
from bnfold.semantics import Meaning


class Meanings(Generic[N, V, E]):
    """Decodes nodes as they are now, and remembers that. Whoever changes the graph has them forgotten.

    Args:
        port: the graph.
        planned: what some nodes mean behind a plan that is made by now, and goes before what is to be planned.
    """

    def __init__(self, port: GraphPort[N, V, E], planned: Mapping[N, Meaning] | None = None) -> None:
        self._port = port
        self._planned = planned or {}
        self._known: dict[N, Meaning] = {}

    def forget(self) -> None:
        """Read all nodes anew from now on: the graph has changed, and with one node its neighbours may have."""
        self._known.clear()

    def __call__(self, node: N) -> Meaning:
        """What a node means now."""
        planned = self._planned.get(node)
        if planned is not None:
            return planned
        if node not in self._known:
            self._known[node] = self._port.decode(node)
        return self._known[node]

    def after(self, planned: Mapping[N, Meaning]) -> "Meanings[N, V, E]":
        """What nodes mean behind a plan: these, and what is known of the others.

        Args:
            planned: what some nodes mean then.
        """
        later: Meanings[N, V, E] = Meanings(self._port, planned)
        later._known = self._known
        return later
