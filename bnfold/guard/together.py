"""Guarded work waited for: one piece, or many side by side, which end in the order in which they were begun."""

import selectors
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Generic, TypeVar

from bnfold.guard.child import Step, Work
from bnfold.guard.limits import Limits
from bnfold.guard.watch import Watching, watch

T = TypeVar("T")

_LOOKS_EVERY = 0.5  # seconds
# Work that is done but for its turn holds a folder with a result in it, so not all of a long list may get so far.
_MOST_WAITING_FOR_THEIR_TURN = 16


def run_guarded(work: Work[T], step: Step, source: Path, folder: Path, limits: Limits) -> T:
    """`watch`, waited for. Args and Raises: as there."""
    return finish(watch(work, step, source, folder, limits))


def finish(watching: Watching[T]) -> T:
    """Wait for one piece of work: what it returns or raises."""
    return next(iter(finish_all([watching], 1)))


def finish_all(works: Iterable[Watching[T]], at_once: int) -> Iterator[T]:
    """Do many pieces of work, some of them at a time.

    Args:
        works: begun in this order. What one raises ends all.
        at_once: how many child processes there are at most.

    Yields:
        What they return, in the same order, each as soon as it and all before it are done.
    """
    coming = map(_Piece, works)
    begun: list[_Piece[T]] = []
    try:
        while True:
            while _has_room(begun, at_once) and (piece := next(coming, None)) is not None:
                begun.append(piece)
                piece.go_on(None)
            if not begun:
                return
            if begun[0].waits_for_its_turn:
                begun[0].go_on(True)
            elif not begun[0].results:
                _wait_for_any([piece for piece in begun if piece.pipe is not None])
            while begun and begun[0].results:
                yield begun.pop(0).results[0]
    finally:
        for piece in begun:
            piece.watching.close()


class _Piece(Generic[T]):
    """One piece of work.

    Attributes:
        watching: the work.
        pipe: that it waits for; None where it waits for none.
        results: what it returned, once it has.
    """

    def __init__(self, watching: Watching[T]) -> None:
        self.watching = watching
        self.pipe: int | None = None
        self.results: list[T] = []

    @property
    def waits_for_its_turn(self) -> bool:
        return self.pipe is None and not self.results

    def go_on(self, is_ready: bool | None) -> None:
        """Until it waits again, or ends."""
        try:
            self.pipe = next(self.watching) if is_ready is None else self.watching.send(is_ready)
        except StopIteration as end:
            self.pipe = None
            self.results.append(end.value)


def _has_room(begun: "Sequence[_Piece[T]]", at_once: int) -> bool:
    running = sum(piece.pipe is not None for piece in begun)
    return running < at_once and len(begun) < at_once + _MOST_WAITING_FOR_THEIR_TURN


def _wait_for_any(pieces: "Sequence[_Piece[T]]") -> None:
    """Let those go on that have something to read, and the others look at the time."""
    with selectors.DefaultSelector() as selector:
        for piece in pieces:
            if piece.pipe is not None:
                selector.register(piece.pipe, selectors.EVENT_READ)
        ready = {key.fd for key, _ in selector.select(_LOOKS_EVERY)}
    for piece in pieces:
        piece.go_on(piece.pipe in ready)
