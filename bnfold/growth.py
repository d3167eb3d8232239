"""What maps do to the parameters of nodes that take them: how much they grow, and how well int8 suits them then."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import isnan

from bnfold.int8 import weight_range, weight_range_behind
from bnfold.label import Label
from bnfold.outcome import Direction, Quantization
from bnfold.port import E, GraphPort, N, V
from bnfold.refusal import Reason, Refusal
from bnfold.semantics import Absorber, AffineMap, Contraction, Meaning


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


@dataclass(frozen=True)
class Effects:
    """What a fold does to the parameters that take its maps.

    Attributes:
        amplification: the largest growth of a weight, max|W'| / max|W|; 1 where nothing grows.
        dead_channels: output channels that are 0 from now on.
        quantization: of the weight that int8 suits least afterwards; None where no weight changes.
    """

    amplification: float
    dead_channels: int
    quantization: Quantization | None


def effects(
    port: GraphPort[N, V, E], changes: Sequence[tuple[N, Meaning, Meaning]], edits: Sequence[E], direction: Direction
) -> Effects:
    """What edits amount to.

    Args:
        port: the graph, before they are applied.
        changes: nodes with what they mean and what they will mean.
        edits: of these nodes, in the same order.
        direction: in which the map goes to them.
    """
    rounded = (change for change, edit in zip(changes, edits, strict=True) if not port.keeps_integers(edit))
    return Effects(
        amplification=max((_amplification(before, after) for _, before, after in changes), default=1.0),
        dead_channels=sum(port.dead_channels(edit) for edit in edits),
        quantization=_worst_for_int8(rounded, direction),
    )


def _amplification(before: Meaning, after: Meaning) -> float:
    """max|W'| / max|W|, or 1 where nothing can grow."""
    if not isinstance(before, Absorber) or not isinstance(after, Absorber) or before.largest_factor == 0:
        return 1.0
    return after.largest_factor / before.largest_factor


def _worst_for_int8(changes: Iterable[tuple[N, Meaning, Meaning]], direction: Direction) -> Quantization | None:
    """The weight that int8 suits least afterwards; None where no weight changes.

    Args:
        changes: nodes with what they meant and what they will mean, but those whose weights are integers already.
        direction: in which the map went to them.
    """
    found = [
        Quantization(
            Label(node.label, node.op),
            weight_range([before.weight], before.weight),
            weight_range_behind(before.weight, after.weight)
            if direction == "downstream"
            else weight_range([after.weight], after.weight),
        )
        for node, before, after in changes
        if isinstance(before, Contraction) and isinstance(after, Contraction) and after.weight is not before.weight
    ]
    return min((entry for entry in found if not isnan(entry.after.per_tensor)), key=_per_tensor, default=None)


def _per_tensor(entry: Quantization) -> float:
    return entry.after.per_tensor
