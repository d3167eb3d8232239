"""Inputs as another rounding might have left them."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from bnfold.verifier.compare.arrays import FLOATS
from bnfold.verifier.compare.channels import Array, eps


def moved_by_last_bit(feeds: Mapping[str, Any], direction: int, precision: "np.dtype[Any]") -> dict[str, Any]:
    """Inputs of which every floating point value is moved by the last bit of a type, or of its own if that is coarser.

    Args:
        feeds: the inputs.
        direction: 1 moves each value up or down at random, -1 the other way.
        precision: the type.
    """
    rng = np.random.default_rng(0)

    def moved(value: Any) -> Any:  # noqa: ANN401 - an array or a list of them
        if isinstance(value, list):
            return [moved(element) for element in value]
        directions = direction * rng.choice((-1.0, 1.0), value.shape)
        return _move(value, directions, precision) if value.dtype in FLOATS else value

    return {name: moved(value) for name, value in feeds.items()}


def _move(array: Array, directions: npt.NDArray[np.float64], precision: "np.dtype[Any]") -> Array:
    """An array of zeros, which have no last bit to move, moves as if they were ones."""
    values = array.astype(np.float64)
    step = np.abs(values) if values.any() else np.ones(values.shape)
    with np.errstate(over="ignore"):  # the largest float16 moves to infinity
        moved: Array = (values + directions * step * max(eps(precision), eps(array.dtype))).astype(array.dtype)
    return moved
