"""Parameters of a map under another shape of the same numbers, of which some lengths are known only at run time."""

from collections.abc import Sequence
from math import prod
from typing import TypeAlias

import numpy as np

from bnfold.affine import Array
from bnfold.refusal import Reason, Refusal

Dim: TypeAlias = int | str | None
"""A length, the name of a length that is not known before run time, or None where there is not even a name."""

MOST_NUMBERS = 2**24
"""Parameters of a map are as long as an axis; written out over several, they stay far below this."""


def regrouped(values: Array, source: tuple[Dim, ...], target: tuple[Dim, ...]) -> Array | Refusal:
    """Parameters for a tensor of one shape, for the same numbers in row-major order under another shape.

    Args:
        values: float64, of the rank of the source; on every axis of length 1 or as long as the axis.
        source: shape of the tensor.
        target: the other shape, of as many numbers.

    Returns:
        The parameters, of the target's rank; UNKNOWN_SHAPE where they vary along an axis whose new place is not known,
        PARAMETER_GROWS where writing them out takes more than 2**24 numbers, MALFORMED where the shapes do not fit.
    """
    values = _compact(values)
    expanded: list[int] = []
    grouped: list[int] = []
    for old, new in _groups(source, target):
        lengths = [values.shape[axis] for axis in old]
        if prod(lengths) == 1:
            expanded += lengths
            grouped += [1] * len(new)
        elif len(old) == len(new) == 1:
            expanded += lengths
            grouped += lengths
        else:
            full_old, full_new = [source[axis] for axis in old], [target[axis] for axis in new]
            known_old = [length for length in full_old if isinstance(length, int)]
            known_new = [length for length in full_new if isinstance(length, int)]
            if len(known_old) < len(full_old) or len(known_new) < len(full_new):
                again = _repeating(values, old, full_old, full_new)
                if again is None:
                    return Refusal(
                        Reason.UNKNOWN_SHAPE,
                        f"the map varies along an axis that is regrouped from {_text(full_old)} to {_text(full_new)}",
                    )
                values, known_old, known_new = again
            expanded += known_old
            grouped += known_new
    if prod(expanded) != prod(grouped) or not _fits(values.shape, expanded):
        return Refusal(Reason.MALFORMED, f"{_text(source)} cannot be regrouped to {_text(target)}")
    if prod(expanded) > max(values.size, MOST_NUMBERS):
        return Refusal(Reason.PARAMETER_GROWS, f"the map would be written out as {prod(expanded):,} numbers")
    return _compact(np.broadcast_to(values, expanded).reshape(grouped))


def _repeating(
    values: Array, old: range, source: Sequence[Dim], target: Sequence[Dim]
) -> tuple[Array, list[int], list[int]] | None:
    """Parameters that vary along known lengths at the end of a run alone: there they begin anew, and go on repeating.

    Args:
        values: the parameters.
        old: the axes of the run.
        source: their lengths.
        target: those of the axes that take their places.

    Returns:
        The parameters, and the lengths to write them out over on both sides; None where one period does not fill what
        is known of the other side.
    """
    first = next(place for place, axis in enumerate(old) if values.shape[axis] > 1)
    period, behind = _known_at_end(source[first:]), _known_at_end(target)
    if len(period) < len(source) - first or not behind:
        return None
    found = next(
        (behind[place:] for place in reversed(range(len(behind))) if prod(behind[place:]) % prod(period) == 0), None
    )
    if found is None and len(period) == 1 and period[0] % prod(behind) == 0:
        shorter = np.take(values, range(prod(behind)), axis=old[first])
        times = [period[0] // prod(behind) if axis == old[first] else 1 for axis in range(values.ndim)]
        if np.array_equal(np.tile(shorter, times), values):
            values, period, found = shorter, [prod(behind)], behind
    if found is None:
        return None
    times_over = prod(found) // prod(period)
    if times_over > 1 and first == 0:
        return None
    before = [1] * (first - 1) + [times_over] if first else []
    return values, [*before, *period], [*[1] * (len(target) - len(found)), *found]


def _known_at_end(lengths: Sequence[Dim]) -> list[int]:
    """The lengths at the end that are known."""
    known: list[int] = []
    for length in reversed(lengths):
        if not isinstance(length, int) or length == 0:
            break
        known.insert(0, length)
    return known


def _fits(lengths: Sequence[int], full: Sequence[int]) -> bool:
    """Whether an array of these lengths can be repeated to the full ones."""
    return all(length in (1, most) for length, most in zip(lengths, full, strict=True))


def _compact(values: Array) -> Array:
    """The same parameters with length 1 on axes along which they only repeat, whose lengths then need not be known."""
    for axis, length in enumerate(values.shape):
        first = values[(slice(None),) * axis + (slice(0, 1),)]
        if length > 1 and not np.any(values != first):
            values = first
    return values


def _groups(source: tuple[Dim, ...], target: tuple[Dim, ...]) -> list[tuple[range, range]]:
    """Runs of axes on both sides that hold the same values: found from the left and from the right, the rest as one."""
    left = _runs(source, target)
    i, j = (left[-1][0].stop, left[-1][1].stop) if left else (0, 0)
    right = _runs(source[i:][::-1], target[j:][::-1])
    end_i, end_j = len(source), len(target)
    mirrored = []
    for old, new in right:
        mirrored.append(
            (
                range(len(source) - old.stop, len(source) - old.start),
                range(len(target) - new.stop, len(target) - new.start),
            )
        )
        end_i, end_j = mirrored[-1][0].start, mirrored[-1][1].start
    middle = [(range(i, end_i), range(j, end_j))] if i < end_i or j < end_j else []
    return [*left, *middle, *reversed(mirrored)]


def _runs(source: tuple[Dim, ...], target: tuple[Dim, ...]) -> list[tuple[range, range]]:
    runs: list[tuple[range, range]] = []
    i = j = 0
    while i < len(source) and j < len(target):
        run = _first_run(source, target, i, j)
        if run is None:
            break
        runs.append(run)
        i, j = run[0].stop, run[1].stop
    return runs


def _first_run(source: tuple[Dim, ...], target: tuple[Dim, ...], i: int, j: int) -> tuple[range, range] | None:
    old, new = source[i], target[j]
    if old is not None and old == new:
        return range(i, i + 1), range(j, j + 1)
    if not isinstance(old, int) or not isinstance(new, int) or old == 0 or new == 0:
        return None
    stop_i, stop_j = i + 1, j + 1
    while old != new:
        grown = source[stop_i : stop_i + 1] if old < new else target[stop_j : stop_j + 1]
        if not grown or not isinstance(grown[0], int) or grown[0] == 0:
            return None
        if old < new:
            old, stop_i = old * grown[0], stop_i + 1
        else:
            new, stop_j = new * grown[0], stop_j + 1
    return range(i, stop_i), range(j, stop_j)


def _text(lengths: Sequence[Dim]) -> str:
    return "(" + ", ".join("?" if length is None else str(length) for length in lengths) + ")"
