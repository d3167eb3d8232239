"""What people call nodes."""

from collections.abc import Sequence
from typing import Protocol

MOST_NAMED = 3


class Label(str):
    """A node's label with its operator beside it: of a node without a name, the name of its tensor says little.

    Args:
        label: its name, or that of its output.
        op: operator type as the file spells it.
    """

    __slots__ = ("op",)
    op: str

    def __new__(cls, label: str, op: str) -> "Label":  # noqa: D102
        self = super().__new__(cls, label)
        self.op = op
        return self

    def __reduce__(self) -> tuple[type["Label"], tuple[str, str]]:
        return Label, (str(self), self.op)


class _Called(Protocol):
    @property
    def label(self) -> str: ...

    @property
    def op(self) -> str: ...


def first_labels(nodes: Sequence[_Called]) -> tuple[Label, ...]:
    """The labels of those nodes that `named` names."""
    return tuple(Label(node.label, node.op) for node in nodes[:MOST_NAMED])


def named(nodes: Sequence[_Called], count: int | None = None) -> str:
    """Some nodes in a sentence, with their operators: 'r' (Relu), 's' (Sigmoid) and 4 more.

    Args:
        nodes: the first of them at least.
        count: how many there are, if those are not all.
    """
    names = ", ".join(f"{node.label!r} ({node.op})" for node in nodes[:MOST_NAMED])
    more = (len(nodes) if count is None else count) - MOST_NAMED
    return names if more <= 0 else f"{names} and {more} more"
