"""How new values find their way back to a stored parameter, through operators that only move values or round them."""

import numpy as np

from bnfold.affine import Array
from bnfold.frontends.aten.node import AtenNode


def undo_transpose(node: AtenNode, values: Array) -> Array:
    """Two axes swapped once more."""
    swapped: Array = np.swapaxes(values, node.arguments["dim0"], node.arguments["dim1"])
    return swapped


def undo_t(node: AtenNode, values: Array) -> Array:  # noqa: ARG001 - as the others
    """All axes turned around once more."""
    turned: Array = values.T
    return turned


def undo_permute(node: AtenNode, values: Array) -> Array:
    """The axes in their old order."""
    order = [axis % values.ndim for axis in node.arguments["dims"]]
    ordered: Array = np.transpose(values, np.argsort(order))
    return ordered


def undo_regrouping(node: AtenNode, values: Array) -> Array | None:
    """The same numbers in the same order, as long as there are as many of them."""
    shape = node.inputs[0].shape
    lengths = [length for length in shape or () if isinstance(length, int)]
    if shape is None or len(lengths) < len(shape) or np.prod(lengths, dtype=int) != values.size:
        return None
    return values.reshape(lengths)


def undo_expand(node: AtenNode, values: Array) -> Array | None:
    """One of the copies, if all are equal."""
    shape = node.inputs[0].shape
    if shape is None or any(not isinstance(length, int) for length in shape):
        return None
    for axis in range(values.ndim):
        own = axis - (values.ndim - len(shape))
        if own < 0 or (shape[own] == 1 and values.shape[axis] != 1):
            first = np.take(values, [0], axis=axis)
            if np.any(values != first):
                return None
            values = first
    return values.reshape(values.shape[values.ndim - len(shape) :])


def undo_repeat(node: AtenNode, values: Array) -> Array | None:
    """One of the copies of a vector, if all are equal."""
    shape = node.inputs[0].shape
    if values.ndim != 1 or shape is None or len(shape) != 1 or not isinstance(shape[0], int) or not shape[0]:
        return None
    copies = values.reshape(-1, shape[0])
    return None if np.any(copies != copies[:1]) else copies[0]


def undo_nothing(node: AtenNode, values: Array) -> Array:  # noqa: ARG001 - as the others
    """The same values."""
    return values
