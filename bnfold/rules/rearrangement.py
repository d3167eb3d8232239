"""Data movement: any map passes, its parameters move as the data moves."""

from bnfold.affine import Affine, Array
from bnfold.rearrange import Selection, Step
from bnfold.refusal import Refusal
from bnfold.rules.moves import Moved
from bnfold.semantics import Rearrangement


def pull_through_rearrangement(node: Rearrangement, affine: Affine) -> Moved | Refusal:
    """A map behind a data movement acts in front of it instead.

    Before::  x -- move -- affine(s, t) -- y
    After::   x -- affine(unmove(s), unmove(t)) -- move -- y
    Law:      s * move(x) + t == move(unmove(s) * x + unmove(t))
    Shapes:   y: (d_1, ..., d_r); s, t: (1 or d_1, ..., 1 or d_r); unmove(s), unmove(t): of the rank of x, each length
              1 or that of x
    Refuses:  UNKNOWN_SHAPE: the map varies along an axis that is regrouped with lengths not known before run time,
              or along which values may be repeated;
              WRONG_AXIS: the map varies along an axis along which values are repeated
    Source:   ONNX Transpose-24, Reshape-24, Flatten-24, Squeeze-24, Unsqueeze-24, Slice-13, Expand-13, Identity-24
    """
    moved = pull_through_steps(node.steps, affine)
    return moved if isinstance(moved, Refusal) else Moved(None, {node.source: moved})


def push_through_rearrangement(node: Rearrangement, affine: Affine) -> Moved | Refusal:
    """A map in front of a data movement acts behind it instead.

    Before::  x -- affine(s, t) -- move -- y
    After::   x -- move -- affine(move(s), move(t)) -- y
    Law:      move(s * x + t) == move(s) * move(x) + move(t)
    Shapes:   x: (d_1, ..., d_r); s, t: (1 or d_1, ..., 1 or d_r); move(s), move(t): of the rank of y, each length 1 or
              that of y
    Refuses:  UNKNOWN_SHAPE: the map varies along an axis that is regrouped with lengths not known before run time
    Source:   ONNX Transpose-24, Reshape-24, Flatten-24, Squeeze-24, Unsqueeze-24, Slice-13, Expand-13, Identity-24
    """
    moved = push_through_steps(node.steps, affine)
    return moved if isinstance(moved, Refusal) else Moved(None, {0: moved})


def pull_through_steps(steps: tuple[Step, ...], affine: Affine) -> Affine | Refusal:
    """The map in front of these steps that does what this one does behind them."""
    return _both(_pulled(steps, affine.scale, 1.0), _pulled(steps, affine.shift, 0.0))


def push_through_steps(steps: tuple[Step, ...], affine: Affine) -> Affine | Refusal:
    """The map behind these steps that does what this one does in front of them."""
    return _both(_pushed(steps, affine.scale), _pushed(steps, affine.shift))


def confined(steps: tuple[Step, ...], affine: Affine) -> Affine:
    """A map in front of these steps at those places alone that the first of them take; nothing happens at others."""
    found = affine
    cut: set[int] = set()
    for step in steps:
        if not isinstance(step, Selection) or step.axis in cut:
            break
        cut.add(step.axis)
        if step.leaves_out:
            found = Affine(step.confined(found.scale, 1.0), step.confined(found.shift, 0.0))
    return found


def _pulled(steps: tuple[Step, ...], values: Array, neutral: float) -> Array | Refusal:
    for step in reversed(steps):
        moved = step.pull(values, neutral)
        if isinstance(moved, Refusal):
            return moved
        values = moved
    return values


def _pushed(steps: tuple[Step, ...], values: Array) -> Array | Refusal:
    for step in steps:
        moved = step.push(values)
        if isinstance(moved, Refusal):
            return moved
        values = moved
    return values


def _both(scale: Array | Refusal, shift: Array | Refusal) -> Affine | Refusal:
    if isinstance(scale, Refusal):
        return scale
    return shift if isinstance(shift, Refusal) else Affine(scale, shift)
