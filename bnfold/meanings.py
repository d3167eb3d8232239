"""What the nodes of one graph mean, each of them read once."""

from collections.abc import Mapping
from typing import Generic

from bnfold.port import E, GraphPort, N, V
from bnfold.semantics import Meaning


class Meanings(Generic[N, V, E]):
    """Decodes nodes as they are now, and remembers that: it must not outlive a change of the graph.

    Args:
        port: the graph.
        planned: what some nodes mean in a plan that is made by now, and goes before what is to be planned.
    """

    def __init__(self, port: GraphPort[N, V, E], planned: Mapping[N, Meaning] | None = None) -> None:
        self._port = port
        self._known: dict[N, Meaning] = dict(planned or {})

    def __call__(self, node: N) -> Meaning:
        """What a node means now."""
        if node not in self._known:
            self._known[node] = self._port.decode(node)
        return self._known[node]
