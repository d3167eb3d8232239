"""Arithmetic with one constant, which can take one half of a map."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from bnfold.affine import Affine, Array, identity
from bnfold.refusal import Reason, Refusal
from bnfold.rules.carry.sides import Sides, close, proper
from bnfold.semantics import AffineMap, Form


def spread_over_arithmetic(node: AffineMap, known: Sides) -> Sequence[Sides] | Refusal:
    """A Mul takes scales, and a shift acts on both of its sides; an Add takes shifts, and a scale acts on both."""
    if set(known.inputs) - {node.source}:
        return Refusal(Reason.NOT_LINEAR, "the operator reads the tensor as one of its parameters")
    before, behind = known.inputs.get(node.source), known.outputs.get(0)
    if before is not None and behind is None:
        passed = before.scale_alone() if node.form is Form.SHIFT else _shifted(node.affine.scale * before.shift)
        return (Sides(outputs=proper({0: passed})),)
    if behind is not None and before is None:
        if node.form is Form.SHIFT:
            return (Sides(inputs=proper({node.source: behind.scale_alone()})),)
        if behind.has_shift and not np.all(node.affine.scale):
            return Refusal(Reason.ZERO_SCALE, "a shift behind a multiplication by 0 has no counterpart in front of it")
        shift = behind.shift / node.affine.scale if behind.has_shift else behind.shift
        return (Sides(inputs=proper({node.source: _shifted(shift)})),)
    return (Sides(),)


def settle_arithmetic(node: AffineMap, sides: Sides) -> AffineMap | Refusal:
    """Mul, Div, Add and Sub by a constant c take of both maps what their constant can express.

    Before::  x -- c * x, or r * x + c with r of 1 or -1 -- y
    After::   x' -- c' * x', or r * x' + c' -- y', where x = a x' + b and y = p y' + q
    Law:      Mul: c' == c a / p, where q == c b; Add: c' == (c + r b - q) / p, where a == p
    Shapes:   a, b, p, q, c: of the rank of x
    Refuses:  CYCLE: the condition does not hold; ZERO_SCALE: p is 0
    Source:   ONNX Mul-14, Div-14, Add-14, Sub-14
    """
    rank = node.affine.rank
    before = sides.inputs.get(node.source, identity(rank))
    behind = sides.outputs.get(0, identity(rank))
    undone = behind.scale_alone().inverse()
    if isinstance(undone, Refusal):
        return undone
    c = node.affine.shift if node.form is Form.SHIFT else node.affine.scale
    holds = close(before.scale, behind.scale) if node.form is Form.SHIFT else close(behind.shift, c * before.shift)
    if not holds:
        return Refusal(Reason.CYCLE, "what reaches the operator from one side is not what the other side asks for")
    if node.form is Form.SHIFT:
        constant = (c + node.affine.scale * before.shift - behind.shift) * undone.scale
        return replace(node, affine=Affine(node.affine.scale, constant))
    return replace(node, affine=Affine(c * before.scale * undone.scale, np.zeros((1,) * rank)))


def _shifted(shift: Array) -> Affine:
    return Affine(np.ones((1,) * shift.ndim), shift)
