"""Lengths of axes, of which some are known only at run time."""

from bnfold.frontends.common.undecodable import Undecodable
from bnfold.rearrange import Dim
from bnfold.refusal import Reason


def known_length(shape: tuple[Dim, ...], axis: int) -> int:
    """The length of an axis, which must be known before run time."""
    length = shape[axis]
    if not isinstance(length, int):
        raise Undecodable(Reason.UNKNOWN_SHAPE, f"the length of axis {axis} is not known before run time")
    return length


def named(shape: tuple[Dim, ...]) -> tuple[Dim, ...]:
    """A length without a name gets one here: for operators that say themselves that it stays what it is."""
    return tuple(f"axis {axis}" if length is None else length for axis, length in enumerate(shape))


def times(length: Dim, factor: int) -> Dim:
    """So many times as long."""
    return length * factor if isinstance(length, int) else f"{length} * {factor}"
