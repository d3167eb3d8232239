"""What the nodes of one graph mean, each of them read once."""

from collections.abc import Mapping
from typing import Generic

from bnfold.port import E, GraphPort, N, V
from bnfold.semantics import Meaning


class Meanings(Generic[N, V, E]):
    """Decodes nodes as they are now, and remembers that: it must not outlive a change of the graph.

    Args:
        port: the graph.
    """

    def __init__(self, port: GraphPort[N, V, E]) -> None:
        self._port = port
        self._known: dict[N, Meaning] = {}

    def after(self, planned: Mapping[N, Meaning]) -> "Meanings[N, V, E]":
        """What nodes mean behind a plan that is made by now, and goes before what is to be planned.

        Args:
            planned: what some nodes mean then.
        """
        later: Meanings[N, V, E] = Meanings(self._port)
        later._known = {**self._known, **planned}
        return later

    def __call__(self, node: N) -> Meaning:
        """What a node means now."""
        if node not in self._known:
            self._known[node] = self._port.decode(node)
        return self._known[node]
