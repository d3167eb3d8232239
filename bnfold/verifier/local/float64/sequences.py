"""Sequences of tensors: an array of arrays here, because the reference implementation works on tensors alone.

Source: ONNX SequenceConstruct-11, SequenceAt-11, ConcatFromSequence-11, SplitToSequence-24.
"""

from collections.abc import Iterable

import numpy as np

from bnfold.verifier.local.float64.operator import Array, Call, computes


def _sequence(items: Iterable[Array]) -> Array:
    listed = list(items)
    made = np.empty(len(listed), dtype=object)
    for place, item in enumerate(listed):
        made[place] = item
    return made


def is_sequence(made: Array) -> bool:
    """Whether it is no tensor, but an array of them."""
    return made.dtype == object and any(isinstance(item, np.ndarray) for item in made.flat)


@computes("SequenceConstruct")
def _construct(_call: Call, *items: Array) -> Array:
    return _sequence(items)


@computes("SequenceAt")
def _at(_call: Call, sequence: Array, position: Array) -> Array:
    return np.asarray(sequence[int(position)])


@computes("ConcatFromSequence")
def _concat(call: Call, sequence: Array) -> Array:
    join = np.stack if call.get("new_axis") else np.concatenate
    return np.asarray(join(list(sequence), axis=call.get("axis", 0)))


@computes("SplitToSequence")
def _split(call: Call, x: Array, split: Array | None = None) -> Array:
    axis = call.get("axis", 0)
    if split is None:
        parts = np.split(x, x.shape[axis], axis=axis)
        return _sequence(parts if call.get("keepdims", 1) else (part.squeeze(axis) for part in parts))
    cuts = np.arange(int(split), x.shape[axis], int(split)) if split.ndim == 0 else np.cumsum(split)[:-1]
    return _sequence(np.split(x, cuts, axis=axis))
