"""Two lists of operators side by side: which of one stands where which of the other does.

Folds take single operators out, or put few in, so both lists go on alike soon. `difflib` looks for the longest runs
first, which takes the third power of the length where a network repeats its blocks: it is asked of what lies between.
"""

from collections.abc import Hashable, Iterator, Sequence
from difflib import SequenceMatcher

_FAR = 40
"""So many operators are left out together at most before both lists go on alike again."""
_SKIPS = [(total - other, other) for total in range(1, _FAR + 1) for other in range(total + 1)]
_RUN = 2
"""So many have to be alike behind others that are not."""


def side_by_side(ours: Sequence[Hashable], theirs: Sequence[Hashable]) -> Iterator[tuple[int, int]]:
    """Pairs of places with equal labels, in ascending order of both.

    Args:
        ours: labels of the one list.
        theirs: those of the other one.
    """
    a = b = 0
    while a < len(ours) and b < len(theirs):
        if ours[a] == theirs[b]:
            yield a, b
            a, b = a + 1, b + 1
            continue
        of_ours, of_theirs = next((skips for skips in _SKIPS if _go_on_alike(ours, theirs, a, b, *skips)), (1, 1))
        between = SequenceMatcher(None, ours[a : a + of_ours], theirs[b : b + of_theirs], autojunk=False)
        for start, other, length in between.get_matching_blocks():
            yield from ((a + start + step, b + other + step) for step in range(length))
        a, b = a + of_ours, b + of_theirs


def _go_on_alike(
    ours: Sequence[Hashable], theirs: Sequence[Hashable], a: int, b: int, of_ours: int, of_theirs: int
) -> bool:
    """Whether both are alike again where so many are left out of either."""
    run = ours[a + of_ours : a + of_ours + _RUN]
    return bool(run) and list(run) == list(theirs[b + of_theirs : b + of_theirs + _RUN])
