"""Operators without weights that a map passes: activations, pooling, padding, resampling, reductions."""

import numpy as np
import numpy.typing as npt

from bnfold.affine import Affine, Array
from bnfold.refusal import Reason, Refusal
from bnfold.rules.moves import Moved
from bnfold.semantics import Commuting, NoShift


def pull_through_commuting(node: Commuting, affine: Affine) -> Moved | Refusal:
    """A map behind an operator that commutes with it acts in front of it instead.

    Before::  x -- f -- affine(s, t) -- y
    After::   x -- affine(s, t / k) -- f -- y
    Law:      s * f(x) + t == f(s * x + t / k), where f(s * x + u) == s * f(x) + k * u
    Shapes:   x: (d_1, ..., d_r); y: the same with other lengths on the axes that f mixes, or without them; s, t: one
              length for each axis of y, 1 on those axes, where they are put back if f removed them; k: a number
    Refuses:  WRONG_AXIS: the map varies along an axis on which f mixes values;
              NEEDS_NON_NEGATIVE_SCALE: f is no mean, but a maximum or a ramp, and a scale is negative;
              SHIFT_CANNOT_PASS: f keeps no shift, such as Relu, or padding with zeros
    Source:   ONNX Relu-14, LeakyRelu-16, PRelu-16, MaxPool-22, AveragePool-22, ReduceMean-18, Pad-24, Resize-19, Neg-13
    """
    kept = tuple(axis for axis in range(node.rank) if axis not in node.removed_axes)
    scale = _with_axes(affine.scale, node.rank, kept)
    shift = _with_axes(affine.shift, node.rank, kept)
    return _carry(node, Affine(scale, shift), 1.0 / _factor(node))


def push_through_commuting(node: Commuting, affine: Affine) -> Moved | Refusal:
    """A map in front of an operator that commutes with it acts behind it instead.

    Before::  x -- affine(s, t) -- f -- y
    After::   x -- f -- affine(s, k * t) -- y
    Law:      f(s * x + t) == s * f(x) + k * t, and f(0 * x + t) == 0 * f(x) + f(t)
    Shapes:   x: (d_1, ..., d_r); s, t: (1 or d_1, ..., 1 or d_r), 1 on the axes that f mixes, and without those that
              it removes behind it; k: a number
    Refuses:  WRONG_AXIS: the map varies along an axis on which f mixes values;
              NEEDS_NON_NEGATIVE_SCALE: f is no mean, but a maximum or a ramp, and a scale is negative;
              SHIFT_CANNOT_PASS: f keeps no shift, such as Relu, or padding with zeros
    Source:   ONNX Relu-14, LeakyRelu-16, PRelu-16, MaxPool-22, AveragePool-22, ReduceMean-18, Pad-24, Resize-19, Neg-13
    """
    constant = _constants(node, affine)
    moved = _carry(node, Affine(affine.scale, np.where(constant, 0.0, affine.shift)), _factor(node))
    if isinstance(moved, Refusal):
        return moved
    (carried,) = moved.requirements.values()
    if node.of_constants is not None and constant.any():
        carried = Affine(carried.scale, np.where(constant, node.of_constants(affine.shift), carried.shift))
    reduced = [np.squeeze(values, axis=node.removed_axes) for values in (carried.scale, carried.shift)]
    return Moved(None, {0: Affine(*reduced)})


def _factor(node: Commuting) -> float:
    """k; any number where no shift passes, since none is left to multiply."""
    return 1.0 if isinstance(node.shift_factor, NoShift) else node.shift_factor


def _constants(node: Commuting, affine: Affine) -> npt.NDArray[np.bool_]:
    """Where the map makes a constant that no shift can follow, but f can be asked of; all False where there is none."""
    if not isinstance(node.shift_factor, NoShift) or node.of_constants is None or node.mixed_axes:
        return np.zeros((1,) * affine.rank, np.bool_)
    return np.asarray((affine.scale == 0) & (affine.shift != 0))


def _carry(node: Commuting, affine: Affine, factor: float) -> Moved | Refusal:
    wrong = [axis for axis in affine.varying_axes if axis in node.mixed_axes]
    if wrong:
        return Refusal(
            Reason.WRONG_AXIS, f"the map varies along axis {wrong[0]}, along which the operator mixes values"
        )
    # Exporters store copies along the mixed axes: what is counted from here on are places that differ.
    affine = affine.constant_along(node.mixed_axes)
    turned = why_order_turns(affine) if node.needs_non_negative_scale else None
    if turned is not None:
        return turned
    if isinstance(node.shift_factor, NoShift) and affine.has_shift:
        largest = int(np.argmax(np.abs(affine.shift)))
        return Refusal(
            Reason.SHIFT_CANNOT_PASS,
            f"{node.shift_factor.why}; max |shift| {abs(affine.shift.reshape(-1)[largest]):.3g}, channel {largest}",
        )
    return Moved(None, {node.source: Affine(affine.scale, affine.shift * factor)})


def _with_axes(values: Array, rank: int, kept: tuple[int, ...]) -> Array:
    if len(kept) == rank:
        return values
    shape = [1] * rank
    for axis, length in zip(kept, values.shape, strict=True):
        shape[axis] = length
    return values.reshape(shape)


def why_order_turns(affine: Affine) -> Refusal | None:
    """Which scales turn around what is larger and what is smaller (NEEDS_NON_NEGATIVE_SCALE); None where none does."""
    negative = np.flatnonzero(affine.scale < 0)
    if not negative.size:
        return None
    lowest = int(np.argmin(affine.scale))
    return Refusal(
        Reason.NEEDS_NON_NEGATIVE_SCALE,
        f"scale < 0 in {negative.size} of {affine.scale.size} channels "
        f"(min {affine.scale.reshape(-1)[lowest]:.3g}, channel {lowest})",
    )
