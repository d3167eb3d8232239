"""Parts of a program: what lies between a value and the last values before it that are given."""

from collections.abc import Container
from dataclasses import dataclass

from bnfold.verifier.programs.parts.graph import Node, ProgramGraph, Value


@dataclass(frozen=True)
class Part:
    """The nodes that make one value.

    Attributes:
        target: that value.
        nodes: in their order.
        given: the values that it begins with.
        stored: the parameters, buffers and constants that it reads.
    """

    target: Value
    nodes: tuple[Node, ...]
    given: tuple[Value, ...]
    stored: tuple[Value, ...]

    def roles(self, value: Value) -> frozenset[tuple[str, int]]:
        """As what the nodes read a value: in another role, equal numbers have been computed, and rounded to these."""
        return frozenset(
            (node.op, place) for node in self.nodes for place, read in enumerate(node.operands) if read is value
        )


class Cutter:
    """Cuts parts out of one program."""

    def __init__(self, graph: ProgramGraph) -> None:
        self._graph = graph
        self._place = {node: place for place, node in enumerate(graph.nodes)}
        self._maker = {output: node for node in graph.nodes for output in node.outputs}

    def maker(self, value: Value) -> Node | None:
        """The node that makes it; None of inputs and parameters."""
        return self._maker.get(value)

    def place(self, value: Value) -> int:
        """Where it is made; inputs and parameters come before everything."""
        return self._place[self._maker[value]] if value in self._maker else -1

    def cut(self, target: Value, known: Container[Value]) -> Part:
        """The part that makes the target out of known values.

        Args:
            target: what to make; it is made even if it is known.
            known: where to stop. What is entangled with later writes is made, known or not.
        """
        nodes: set[Node] = set()
        given: dict[Value, None] = {}
        stored: dict[Value, None] = {}
        waiting = [(target, len(self._place))]
        while waiting:
            value, before = waiting.pop()
            tangled = value in self._graph.writes.entangled
            if value.tensor is not None:
                stored[value] = None
            elif value is not target and value in known and not tangled:
                given[value] = None
                continue
            makers = [self._maker[value]] if value in self._maker else []
            if not makers and value.tensor is None:
                given[value] = None
            if tangled:
                writers = self._graph.writes.writers.get(self._graph.writes.family(value), ())
                makers += [writer for writer in writers if self._place[writer] < before]
            for node in makers:
                if node not in nodes:
                    nodes.add(node)
                    waiting += [(operand, self._place[node]) for operand in node.operands]
        return Part(target, tuple(sorted(nodes, key=self._place.__getitem__)), tuple(given), tuple(stored))
