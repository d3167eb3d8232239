"""What is known of the tensors of one node, and how maps are compared."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

import numpy as np

from bnfold.affine import Affine, Array

Maps: TypeAlias = Mapping[int, Affine]

# What float64 may lose where a map is divided by another, relative to the larger of two that should be equal.
LOST = 2.0**-48


@dataclass(frozen=True, eq=False)
class Sides:
    """Maps on the tensors of one node, by index; a tensor without one keeps its values.

    Attributes:
        inputs: on what it reads.
        outputs: on what it makes.
    """

    inputs: Maps = field(default_factory=dict)
    outputs: Maps = field(default_factory=dict)


def agree(one: Affine, other: Affine) -> bool:
    """Whether two maps of one rank are the same, but for the last bits of float64."""
    return close(one.scale, other.scale) and close(one.shift, other.shift)


def close(one: Array, other: Array) -> bool:
    """Whether two arrays are the same, but for the last bits of float64."""
    return bool(np.all(np.abs(one - other) <= LOST * np.maximum(np.abs(one), np.abs(other))))


def proper(maps: Maps) -> Maps:
    """Those maps that change something."""
    return {index: affine for index, affine in maps.items() if not affine.is_identity}


def magnitude(values: Array) -> float:
    """The largest absolute value; 0 without any."""
    return float(np.abs(values).max(initial=0.0))
