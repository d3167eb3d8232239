"""Operators between a stored parameter and the node that uses it, and how new values find their way back."""

from collections.abc import Callable, Mapping
from typing import TypeAlias

import numpy as np

from bnfold.affine import Array
from bnfold.frontends.aten.graph import AtenNode

_Undo: TypeAlias = Callable[[AtenNode, Array], Array | None]


def _undo_transpose(node: AtenNode, values: Array) -> Array:
    swapped: Array = np.swapaxes(values, node.arguments["dim0"], node.arguments["dim1"])
    return swapped


def _undo_t(node: AtenNode, values: Array) -> Array:  # noqa: ARG001 - as the others
    turned: Array = values.T
    return turned


def _undo_permute(node: AtenNode, values: Array) -> Array:
    order = [axis % values.ndim for axis in node.arguments["dims"]]
    ordered: Array = np.transpose(values, np.argsort(order))
    return ordered


def _undo_regrouping(node: AtenNode, values: Array) -> Array | None:
    """The same numbers in the same order, as long as there are as many of them."""
    shape = node.inputs[0].shape
    lengths = [length for length in shape or () if isinstance(length, int)]
    if shape is None or len(lengths) < len(shape) or np.prod(lengths, dtype=int) != values.size:
        return None
    return values.reshape(lengths)


def _undo_expand(node: AtenNode, values: Array) -> Array | None:
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


def _undo_repeat(node: AtenNode, values: Array) -> Array | None:
    """One of the copies of a vector, if all are equal."""
    shape = node.inputs[0].shape
    if values.ndim != 1 or shape is None or len(shape) != 1 or not isinstance(shape[0], int) or not shape[0]:
        return None
    copies = values.reshape(-1, shape[0])
    return None if np.any(copies != copies[:1]) else copies[0]


def _undo_nothing(node: AtenNode, values: Array) -> Array:  # noqa: ARG001 - as the others
    return values


CONVERSIONS = frozenset({"aten::to", "aten::_to_copy"})
"""Those of the layouts that round. What a fold computes is rounded behind them, not before."""

LAYOUTS: Mapping[str, _Undo] = {
    "aten::_to_copy": _undo_nothing,
    "aten::alias": _undo_nothing,
    "aten::clone": _undo_nothing,
    "aten::contiguous": _undo_nothing,
    "aten::detach": _undo_nothing,
    "aten::detach_": _undo_nothing,
    "aten::expand": _undo_expand,
    "aten::flatten": _undo_regrouping,
    "aten::lift_fresh_copy": _undo_nothing,
    "aten::permute": _undo_permute,
    "aten::repeat": _undo_repeat,
    "aten::reshape": _undo_regrouping,
    "aten::squeeze": _undo_regrouping,
    "aten::t": _undo_t,
    "aten::to": _undo_nothing,
    "aten::transpose": _undo_transpose,
    "aten::unsqueeze": _undo_regrouping,
    "aten::view": _undo_regrouping,
}
"""Operators that only move values or round them, by how to get new values of their output back to their input."""
