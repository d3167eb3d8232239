"""Answers that stand as long as nothing changes that they were made of: to ask again would cost, and find the same."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

from bnfold.meanings import Meanings
from bnfold.port import E, N, V

A = TypeVar("A")
B = TypeVar("B")

# A plan that went past more nodes is asked again: on a stream of n norms, to remember all would take n * n.
_MOST_ASKED = 2000


@dataclass(frozen=True)
class _Answer(Generic[N, A]):
    """An answer, the nodes that it asked, and when."""

    answer: A
    asked: frozenset[N]
    at: int


class Standing(Generic[N, V, E, A]):
    """Asks a question of nodes, and remembers those answers that leave the graph as it is.

    An answer rests on the meanings of the nodes that it asked, and on who else makes and reads their tensors.

    Args:
        meanings: of the graph; all that an answer rests on is asked there.
        kind: of the answers to remember.
    """

    def __init__(self, meanings: Meanings[N, V, E], kind: type[A]) -> None:
        self._meanings = meanings
        self._kind = kind
        self._answers: dict[N, _Answer[N, A]] = {}

    def ask(self, node: N, question: Callable[[], B]) -> A | B:
        """What the node was answered, if that still stands; else ask, and remember an answer of the kind."""
        known = self._answers.pop(node, None)
        if known is not None and self._meanings.changes.left_alone(known.asked, known.at):
            self._answers[node] = known
            return known.answer
        asked, at = self._meanings.asked, self._meanings.changes.now
        asked.clear()
        found = question()
        if isinstance(found, self._kind) and len(asked) <= _MOST_ASKED:
            self._answers[node] = _Answer(found, frozenset((*asked, node)), at)
        return found
