"""Trying one choice after the other where the algebra leaves several."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from bnfold.refusal import Refusal

T = TypeVar("T")

# How many ways to send a shift through sums, or a scale through products, are tried before the first failure counts.
_MOST_ATTEMPTS = 16


@dataclass
class Picks:
    """Which choice to take at each place that has one: counts through all combinations, the last place fastest."""

    taken: list[int] = field(default_factory=list)
    available: list[int] = field(default_factory=list)
    _place: int = 0
    _advanced: int | None = None
    _refusal: Refusal | None = None

    def attempts(self) -> Iterator[None]:
        """One for each combination, from the first on, as far as trying pays."""
        for _ in range(_MOST_ATTEMPTS):
            self._place = 0
            yield
            if not self._advance():
                return

    def learn(self, refusal: Refusal) -> None:
        """What this attempt ended with. If the one before ended with the same, the place between them has no say."""
        if self._advanced is not None and refusal == self._refusal:
            del self.taken[self._advanced :], self.available[self._advanced :]
        self._refusal = refusal

    def choose(self, choices: Sequence[T]) -> T:
        """The choice at the next place."""
        if len(choices) == 1:
            return choices[0]
        if self._place == len(self.taken):
            self.taken.append(0)
            self.available.append(len(choices))
        self._place += 1
        return choices[self.taken[self._place - 1]]

    def _advance(self) -> bool:
        """Go on to the next combination; False where all were tried."""
        while self.taken and self.taken[-1] + 1 == self.available[-1]:
            self.taken.pop()
            self.available.pop()
        if not self.taken:
            return False
        self._advanced = len(self.taken) - 1
        self.taken[-1] += 1
        return True
