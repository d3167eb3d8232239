"""Tensors that hold other values in the new model: y, for the original's x = scale * y + shift.

A fold that crosses a tensor which others read lets it hold y, and those others take the inverse. Nobody has to say so:
what both models make of the same values shows it (`bnfold.verifier.local.inferred`). Such a tensor is one that both
models have, and a part can begin and end there. That excuses nothing: where the tensor is made, x has to come out of
what the new model makes, and where it is read, both have to make the same of y and of the x that belongs to it.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]


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
class Held:
    """What the new model holds in place of one tensor of the original.

    Attributes:
        map: from y to x.
        step: how far its numbers may be from those that the readers were made for: what moves them where the stored
            ones that they were inferred from are rounded another way.
        slack: how far they may be from those that were measured, where they were taken for 0 or 1.
        fixed: the y of channels that hold a constant in the new model; NaN of all others.
        is_lost: where x may be anything beside such a constant, as a mask: the readers forget it.
    """

    map: Map
    step: Map
    slack: Map
    fixed: Array
    is_lost: Array

    @property
    def changes_nothing(self) -> bool:
        """Whether every y is its x."""
        return bool((self.map.scale == 1).all() and not self.map.shift.any())

    def possible(self, values: Array) -> Array:
        """Of any y those that the model may hold."""
        return np.where(np.isnan(self.fixed), values, self.fixed)

    def original(self, values: Array, to: Map) -> Array:
        """The x of any y, by this map or one that is near it; of what is lost, the same numbers."""
        return np.where(self.is_lost, values, to.original(self.possible(values)))

    def new(self, values: Array, to: Map) -> Array:
        """The y of x, by this map or one that is near it."""
        return np.where(self.is_lost, self.fixed, to.new(values))

    def moved(self, by: Map, scale: Array, shift: Array) -> Map:
        """The map with its numbers moved by so many times others."""
        return Map(self.map.scale + scale * by.scale, self.map.shift + shift * by.shift)
