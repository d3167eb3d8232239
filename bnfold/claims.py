"""Which tensors of a file hold other values by now, and by which map: what the check is told, and then proves.

Without a claim, a tensor with other values is none that both models have, and the check has to begin in front of it.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Generic, Protocol, TypeVar

from bnfold.affine import Affine
from bnfold.verification import Claim


class _Named(Protocol):
    @property
    def name(self) -> str:
        """What the file calls it by now."""


V = TypeVar("V", bound=_Named)


@dataclass(frozen=True)
class Held:
    """What a fold let a tensor hold.

    Attributes:
        affine: old value = affine(new value).
        fold: name of the tensor that the node made which is gone.
    """

    affine: Affine
    fold: str


@dataclass(frozen=True)
class _Entry:
    """All maps of one tensor taken together; None of one of which a map is not known."""

    original: str
    affine: Affine | None
    folds: frozenset[str]


class Ledger(Generic[V]):
    """Remembers what tensors hold, from the file on."""

    def __init__(self) -> None:
        self._entries: dict[V, _Entry] = {}

    def move(self, value: V, held: Held | None) -> None:
        """Note that a tensor is about to hold other values.

        Args:
            value: the tensor, under the name that it has had so far.
            held: by which map; None where that is not known.
        """
        before = self._entries.get(value)
        # Maps of other kinds say what may be added at run time, or how a tensor grows: no numbers to be checked.
        if held is None or type(held.affine) is not Affine:
            original, folds = (value.name, frozenset[str]()) if before is None else (before.original, before.folds)
            self._entries[value] = _Entry(original, None, folds)
        elif before is None:
            self._entries[value] = _Entry(value.name, held.affine, frozenset((held.fold,)))
        elif before.affine is not None:
            affine = held.affine.then(before.affine)
            self._entries[value] = replace(before, affine=affine, folds=before.folds | {held.fold})

    def claims(self, is_there: Callable[[V], bool]) -> tuple[Claim, ...]:
        """What is claimed of the tensors that are still there."""
        return tuple(
            Claim(entry.original, value.name, entry.affine.scale, entry.affine.shift, entry.folds)
            for value, entry in self._entries.items()
            if entry.affine is not None and is_there(value)
        )
