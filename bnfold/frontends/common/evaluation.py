"""The order in which constants that are computed from constants are evaluated."""

from collections.abc import Callable, Container, Hashable, Sequence
from typing import TypeVar

V = TypeVar("V", bound=Hashable)


def in_order_of_evaluation(value: V, settled: Container[V], sources: Callable[[V], Sequence[V]]) -> list[V]:
    """The tensors that one is made of, each after its own sources, itself last. Not recursive: chains can be long.

    Args:
        value: the tensor.
        settled: those whose sources need not be asked for.
        sources: the tensors that one is computed from; none for those that are stored, or are no constants.
    """
    order: dict[V, None] = {}
    waiting = [value]
    while waiting:
        unknown = [] if waiting[-1] in settled else [source for source in sources(waiting[-1]) if source not in order]
        if unknown:
            waiting += unknown
        else:
            order[waiting.pop()] = None
    return list(order)
