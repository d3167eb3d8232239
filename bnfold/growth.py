"""How much parameters grow when a node takes a map."""

from bnfold.refusal import Reason, Refusal
from bnfold.semantics import Absorber, AffineMap, Meaning


def why_grown(origin: AffineMap, before: Meaning, after: Meaning) -> Refusal | None:
    """Why a constant may not take a map: one over the width that takes a map over the channels is one over both.

    Args:
        origin: the affine node whose map it is.
        before: what the node means.
        after: what it is to mean.

    Returns:
        PARAMETER_GROWS where the constant would be larger than it and that of the origin; None otherwise.
    """
    if not isinstance(before, AffineMap) or not isinstance(after, AffineMap):
        return None
    old, new = before.constant_size, after.constant_size
    if new <= max(old, origin.constant_size):
        return None
    return Refusal(Reason.PARAMETER_GROWS, f"a constant of {old} numbers would become one of {new}")


def amplification(before: Meaning, after: Meaning) -> float:
    """max|W'| / max|W|, or 1 where nothing can grow."""
    if not isinstance(before, Absorber) or not isinstance(after, Absorber) or before.largest_factor == 0:
        return 1.0
    return after.largest_factor / before.largest_factor
