"""Tensors that hold other values in the new model, and what is claimed of them: x = scale * y + shift.

Such a tensor gets the original's name, so that it is one that both models have, and a part can begin and end there.
What is claimed is the word of the accused. It is put to the test twice: where the tensor is made, x has to come out
of what the new model makes, and where it is read, both have to make the same of y and of the x that belongs to it.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from bnfold.intake.tensor_names import rename_tensors, tensor_names
from bnfold.verification import Claim

if TYPE_CHECKING:
    from onnx import GraphProto, ModelProto

Array = npt.NDArray[Any]

_PRECISE = (np.float32, np.float64)
_OF_SEQUENCES = ("SequenceConstruct", "SequenceErase", "SequenceInsert", "SplitToSequence")


@dataclass(frozen=True, eq=False)
class Map:
    """What a tensor of the new model holds: y, for the original's x = scale * y + shift.

    Attributes:
        scale, shift: float64, of the tensor's rank. Where the scale is 0, y is free: it may be anything.
    """

    scale: Array
    shift: Array

    def original(self, values: Array) -> Array:
        """The x of y."""
        return np.asarray(self.scale * values + self.shift)

    def new(self, values: Array) -> Array:
        """The y of x; x itself where y is free."""
        return np.where(self.is_free, values, (values - self.shift) / self._divisor)

    def exchanged(self, values: Array, other: "Map") -> Array:
        """The y that another map has for the same x, of this map's y; y itself where it is free."""
        turned = values * (self.scale / other._divisor) + (self.shift - other.shift) / other._divisor
        return np.where(self.is_free, values, turned)

    def varies_along(self, axis: int) -> bool:
        """Whether it is not the same map everywhere along an axis, if the tensor has that many."""
        return max((*self.scale.shape[axis : axis + 1], *self.shift.shape[axis : axis + 1]), default=1) > 1

    @cached_property
    def is_free(self) -> Array:
        """Where y may be anything, as a mask."""
        return np.asarray(self.scale == 0)

    @cached_property
    def _divisor(self) -> Array:
        return np.where(self.is_free, 1.0, self.scale)


@dataclass(frozen=True, eq=False)
class HeldValues:
    """What is claimed of one tensor.

    Attributes:
        map: the claim.
        stored: the same in the precision of the model.
        folds: tensors that the nodes made which are gone for it.
    """

    map: Map
    stored: Map
    folds: frozenset[str]


def with_names_of_original(
    new: "ModelProto", original: "ModelProto", claims: Iterable[Claim], precision: "np.dtype[Any]"
) -> dict[str, HeldValues]:
    """Give tensors with other values the names that they have in the original.

    Claims of tensors that one of the models does not have, or whose name means something else there, are left out; in
    half precision all of them are: maps that were rounded to so few digits on the way say nothing of single numbers.

    Args:
        new: the new model; its names are changed in place.
        original: the original.
        claims: what is said of tensors of its main graph.
        precision: of the original.

    Returns:
        What these tensors hold, by the names of the original.
    """
    asked = list(claims)
    if not asked or precision not in _PRECISE:
        return {}
    before, after = _made(original.graph), _made(new.graph)
    taken = set(tensor_names(new.graph))
    kept = [claim for claim in asked if claim.original in before and claim.new in after and claim.original not in taken]
    rename_tensors(new.graph, {claim.new: claim.original for claim in kept})
    return {claim.original: _held(claim, precision) for claim in kept}


def _held(claim: Claim, precision: "np.dtype[Any]") -> HeldValues:
    stored = Map(_rounded(claim.scale, precision), _rounded(claim.shift, precision))
    return HeldValues(Map(claim.scale, claim.shift), stored, claim.folds)


def _rounded(values: Array, precision: "np.dtype[Any]") -> Array:
    """Values in the precision of the model; the same ones where all of them are such numbers, as 1 is."""
    rounded = values.astype(precision)
    return values if np.array_equal(rounded, values) else rounded


def _made(graph: "GraphProto") -> set[str]:
    """The tensors that the nodes of a graph make, but for its outputs: a sequence of tensors has no single map."""
    nodes = (node for node in graph.node if node.op_type not in _OF_SEQUENCES)
    return {name for node in nodes for name in node.output} - {entry.name for entry in graph.output}
