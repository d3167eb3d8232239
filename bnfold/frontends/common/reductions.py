"""Sums over axes: how often a shift comes out of one."""

import math
from collections.abc import Sequence

from bnfold.regrouping import Dim
from bnfold.semantics import NoShift


def places_summed(shape: Sequence[Dim], axes: Sequence[int]) -> float | NoShift:
    """How often a shift comes out of a sum over these axes, where that is known, and not never."""
    lengths = [shape[axis] for axis in axes]
    known = [length for length in lengths if isinstance(length, int)]
    if len(known) < len(lengths) or 0 in known:
        return NoShift("how many places are summed is not known before run time")
    return float(math.prod(known))
