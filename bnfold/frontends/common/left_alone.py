"""Nodes that no fold may touch: those that the caller excluded, and those whose folds are to be dropped."""

from collections.abc import Collection, Iterable, Sequence
from fnmatch import fnmatchcase
from typing import Generic, Protocol, TypeVar

from bnfold.refusal import Reason
from bnfold.semantics import Opaque


class _Labelled(Protocol):
    @property
    def label(self) -> str: ...


N = TypeVar("N", bound=_Labelled)


class LeftAlone(Generic[N]):
    """Nodes that no map may enter, leave or pass.

    Args:
        nodes: all that are there before anything is folded, in the order of the graph.
        patterns: glob patterns of labels, as the caller gave them.
        numbers: of further nodes, counted in that order from 0.

    Attributes:
        unmatched: those patterns that match no node, and so say nothing.
    """

    def __init__(self, nodes: Iterable[N], patterns: Sequence[str], numbers: Collection[int] = ()) -> None:
        self._numbers = {node: number for number, node in enumerate(nodes)}
        self._patterns = tuple(patterns)
        self._dropped = frozenset(numbers)
        self.unmatched = tuple(
            pattern for pattern in patterns if not any(fnmatchcase(node.label, pattern) for node in self._numbers)
        )

    def number(self, node: N) -> int:
        """The number of a node; -1 where a fold added it."""
        return self._numbers.get(node, -1)

    def why(self, node: N) -> Opaque | None:
        """What a node means that is left alone; None for all others."""
        if self.number(node) in self._dropped or any(fnmatchcase(node.label, pattern) for pattern in self._patterns):
            return Opaque(Reason.EXCLUDED, f"{node.label!r} is excluded")
        return None
