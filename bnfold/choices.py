"""Trying one choice after the other where the algebra leaves several."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

T = TypeVar("T")

# How many ways to send a shift through sums, or a scale through products, are tried before the first failure counts.
_MOST_ATTEMPTS = 16


@dataclass
class Picks:
    """Which choice to take at each place that has one: counts through all combinations, the last place fastest."""

    taken: list[int] = field(default_factory=list)
    available: list[int] = field(default_factory=list)
    _place: int = 0

    def attempts(self) -> Iterator[None]:
        """One for each combination, from the first on, as far as trying pays."""
        for _ in range(_MOST_ATTEMPTS):
            self._place = 0
            yield
            if not self._advance():
                return

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
        if self.taken:
            self.taken[-1] += 1
        return bool(self.taken)
