"""What a program writes in place: which value stands for another from then on, and which ones share memory."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bnfold.verifier.programs.parts.graph import Node, Value


@dataclass(eq=False)
class Memory:
    """Values that may share memory.

    Attributes:
        members: these.
        writers: the nodes that write to a part of it, or to all of it under the eyes of other members. Where there are
            any, the values are entangled: none can be cut off, and whoever reads one needs all writes before.
    """

    members: "list[Value]"
    writers: "list[Node]" = field(default_factory=list)


class Writes:
    """Follows what is written in place, node by node.

    Where an operator writes to the whole of a tensor that nobody views, what it returns stands for the tensor from then
    on. Any other write entangles.
    """

    def __init__(self) -> None:
        self._now: dict[Value, Value] = {}
        self._memory: dict[Value, Memory] = {}

    def current(self, value: "Value") -> "Value":
        """The value that stands for another now."""
        while value in self._now:
            value = self._now[value]
        return value

    def memory(self, value: "Value") -> Memory:
        """What it may share memory with."""
        return self._memory.setdefault(value, Memory([value]))

    def entangles(self, value: "Value") -> bool:
        """Whether it is entangled with others by what is written, sooner or later."""
        return bool(self.memory(value).writers)

    def note(self, node: "Node", written: "Iterable[Value]", viewed: "Iterable[Value]") -> None:
        """Take in one node, behind those before it.

        Args:
            node: it.
            written: operands that it writes to.
            viewed: operands whose memory its outputs may share.
        """
        written, viewed = list(map(self.current, written)), list(map(self.current, viewed))
        for value in written:
            memory = self.memory(value)
            if len(memory.members) == len(written) == len(node.outputs) == 1:
                self._now[value] = node.outputs[0]
            else:
                memory.writers.append(node)
        for value in viewed:
            if value not in written or self.entangles(value):
                for output in node.outputs:
                    self._join(self.memory(value), self.memory(output))

    def _join(self, memory: Memory, other: Memory) -> None:
        if memory is not other:
            memory.members += other.members
            memory.writers += other.writers
            self._memory |= dict.fromkeys(other.members, memory)


def touched(schema: Any, given: "Iterable[Sequence[Value]]") -> "tuple[list[Value], list[Value]]":  # noqa: ANN401
    """What an operator writes to, and what its results may share memory with.

    Args:
        schema: of torch.
        given: what it is given, argument by argument.
    """
    written: list[Value] = []
    viewed: list[Value] = []
    for argument, values in zip(schema.arguments, given, strict=False):
        if argument.alias_info is not None:
            (written if argument.alias_info.is_write else viewed).extend(values)
    return written, viewed
