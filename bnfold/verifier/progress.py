"""How far a check is, for whoever waits for it."""

from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

T = TypeVar("T")

Progress = Callable[[str], None]
"""Told what is being done."""


class Count:
    """Counts what is compared, and tells it: "comparing 4/6 inputs, 31/104 changes".

    Args:
        tell: told at every step.
        inputs: how many samples there are.
        changes: how many places the models part at, if they are told.
    """

    def __init__(self, tell: Progress, inputs: int, changes: int = 0) -> None:
        self._tell = tell
        self._inputs, self._changes = inputs, changes
        self._inputs_done = self._changes_done = 0
        self._say()

    def input_done(self) -> None:
        """One more sample was compared."""
        self._inputs_done += 1
        self._say()

    def of_changes(self, changes: Iterable[T]) -> Iterator[T]:
        """The same places, each counted when the next one is asked for."""
        for change in changes:
            yield change
            self._changes_done += 1
            self._say()

    def _say(self) -> None:
        changes = f", {self._changes_done:,}/{self._changes:,} changes" if self._changes else ""
        self._tell(f"comparing {self._inputs_done:,}/{self._inputs:,} inputs{changes}")
