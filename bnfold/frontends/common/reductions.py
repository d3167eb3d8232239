"""Means, sums and extremes over axes, of which a scale passes all and a shift most."""

import math
from collections.abc import Sequence

from bnfold.regrouping import Dim
from bnfold.semantics import Commuting, NoShift


def reduction(
    rank: int,
    axes: tuple[int, ...],
    removed_axes: tuple[int, ...],
    *,
    shift_factor: float | NoShift,
    needs_non_negative_scale: bool = False,
) -> Commuting:
    """A reduction of a tensor of this rank.

    Args:
        rank: of the tensor.
        axes: those it runs over.
        removed_axes: the same, or none where they stay with length 1.
        shift_factor: as in `Commuting`.
        needs_non_negative_scale: as in `Commuting`.
    """
    return Commuting(
        rank,
        mixed_axes=axes,
        removed_axes=removed_axes,
        needs_non_negative_scale=needs_non_negative_scale,
        shift_factor=shift_factor,
    )


def places_summed(shape: Sequence[Dim], axes: Sequence[int]) -> float | NoShift:
    """How often a shift comes out of a sum over these axes, where that is known, and not never."""
    lengths = [shape[axis] for axis in axes]
    known = [length for length in lengths if isinstance(length, int)]
    if len(known) < len(lengths) or 0 in known:
        return NoShift("how many places are summed is not known before run time")
    return float(math.prod(known))
