"""Means, sums and extremes over axes, of which a scale passes all and a shift most."""

import math
from collections.abc import Sequence

from bnfold.rearrange import Dim
from bnfold.semantics import Commuting


def reduction(
    rank: int,
    axes: tuple[int, ...],
    removed_axes: tuple[int, ...],
    *,
    shift_factor: float | None,
    needs_non_negative_scale: bool = False,
) -> Commuting:
    """A reduction of a tensor of this rank.

    Args:
        rank: of the tensor.
        axes: those it runs over.
        removed_axes: the same, or none where they stay with length 1.
        shift_factor: as in `Commuting`; None where it is not known.
        needs_non_negative_scale: as in `Commuting`.
    """
    return Commuting(
        rank,
        mixed_axes=axes,
        removed_axes=removed_axes,
        needs_non_negative_scale=needs_non_negative_scale,
        shift_factor=shift_factor,
        why_no_shift="" if shift_factor else "how many places are summed is not known before run time",
    )


def places_summed(shape: Sequence[Dim], axes: Sequence[int]) -> float | None:
    """How often a shift comes out of a sum over these axes; None where that is not known, or never."""
    lengths = [shape[axis] for axis in axes]
    known = [length for length in lengths if isinstance(length, int)]
    return float(math.prod(known)) if len(known) == len(lengths) and 0 not in known else None
