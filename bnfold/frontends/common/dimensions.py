"""Lengths of axes, of which some are known only at run time."""

from collections.abc import Sequence

from bnfold.frontends.common.undecodable import Undecodable
from bnfold.refusal import Reason
from bnfold.regrouping import Dim


def known_length(shape: tuple[Dim, ...], axis: int) -> int:
    """The length of an axis (UNKNOWN_SHAPE where it is not known before run time)."""
    length = shape[axis]
    if not isinstance(length, int):
        raise Undecodable(Reason.UNKNOWN_SHAPE, f"the length of axis {axis} is not known before run time")
    return length


def named(shape: tuple[Dim, ...]) -> tuple[Dim, ...]:
    """The same shape with a name for every unknown length: for operators under which lengths stay what they are."""
    return tuple(f"axis {axis}" if length is None else length for axis, length in enumerate(shape))


def times(length: Dim, factor: int) -> Dim:
    """A length times a factor; of an unknown length, its name times the factor."""
    return length * factor if isinstance(length, int) else f"{length} * {factor}"


def shared_axes(shapes: Sequence[tuple[Dim, ...]]) -> tuple[int, ...]:
    """Axes in front of the last two along which tensors of one rank have one length, be it only known by its name."""
    first = shapes[0]
    return tuple(
        axis
        for axis in range(len(first) - 2)
        if first[axis] is not None and len({shape[axis] for shape in shapes}) == 1
    )
