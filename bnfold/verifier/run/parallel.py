"""Work done beside other work: both models of a check run at a time, each on half of the machine."""

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeVar, cast

import numpy as np

from bnfold.processors import usable

T = TypeVar("T")
A = TypeVar("A")
B = TypeVar("B")


def half_of_the_processors() -> int:
    """How many threads one of two models takes. A model alone does not run twice as fast on twice as many."""
    return max(1, usable() // 2)


@contextmanager
def one_thread_of_blas() -> Iterator[None]:
    """Matrix products in one thread: several threads of BLAS wait for each other by spinning, and other work waits."""
    from threadpoolctl import threadpool_limits

    with threadpool_limits(1, "blas"):
        yield


def _other_thread() -> ThreadPoolExecutor:
    """One more thread. What overflows there is the model's matter, as it is in the check's own thread."""
    return ThreadPoolExecutor(1, initializer=lambda: np.seterr(all="ignore"))


def side_by_side(first: Callable[[], A], second: Callable[[], B]) -> tuple[A, B]:
    """What two functions return that run at the same time.

    Raises:
        Whatever the first one raises, else whatever the second one raises, when both have ended.
    """
    with _other_thread() as other_thread:
        later = other_thread.submit(second)
        return first(), later.result()


@contextmanager
def begun(function: Callable[[], T]) -> Iterator[Callable[[], T]]:
    """Begin something, and give a function that waits for what it returns, or raises. It ends before the block does."""
    with _other_thread() as other_thread:
        yield other_thread.submit(function).result


def ahead(items: Iterable[T]) -> Iterator[T]:
    """The same items, each made in a second thread while the one before is used: two of them exist at a time.

    Raises:
        Whatever making an item raises, when it is its turn.
    """
    with _other_thread() as other_thread:
        source = iter(items)
        end = object()
        coming = other_thread.submit(next, source, end)
        while (item := coming.result()) is not end:
            coming = other_thread.submit(next, source, end)
            yield cast("T", item)
