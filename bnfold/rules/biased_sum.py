"""Sums with a constant of their own, and perhaps an activation: the constant takes what is added on either side."""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from bnfold.affine import Affine, Array
from bnfold.refusal import Reason, Refusal
from bnfold.rules.moves import Moved
from bnfold.semantics import BiasedSum


def pull_through_biased_sum(node: BiasedSum, affine: Affine) -> Moved | Refusal:
    """A shift behind such a sum becomes part of its constant, a scale goes to all that is added.

    Before::  a, c -- a + c + b -- affine(s, t) -- y
    After::   a, c -- scale s each; a + c + (s * b + t) -- y
    Law:      s * (a + c + b) + t == s * a + s * c + (s * b + t)
    Shapes:   a, c, y: (d_1, ..., d_r); b, s, t: of length 1 but for one axis
    Refuses:  NOT_LINEAR: the sum ends in an activation; WRONG_AXIS: what is added varies along another axis than b;
              OVERFLOW: it exceeds float64
    Source:   com.microsoft BiasAdd-1
    """
    if node.activation is not None:
        return Refusal(node.activation.reason, node.activation.evidence)
    after = _with_bias(node, affine.scale * node.bias + affine.shift)
    if isinstance(after, Refusal) or not affine.has_scale:
        return after if isinstance(after, Refusal) else Moved(after)
    return Moved(after, dict.fromkeys(node.sources, affine.scale_alone()))


def push_through_biased_sum(node: BiasedSum, inputs: Mapping[int, Affine]) -> Moved | Refusal:
    """A shift in front of such a sum becomes part of its constant; a scale passes only where all that is added has it.

    Before::  a -- affine(s, t); c -- scale s; f(a + c + b) -- y
    After::   a, c -- a + c + b' -- scale s -- y, where f is none
    Law:      f((a + t) + c + b) == f(a + c + (b + t)); (s * a + t) + s * c + b == s * (a + c + (b + t) / s)
    Shapes:   a, c, y: (d_1, ..., d_r); b, s, t: of length 1 but for one axis
    Refuses:  OTHER_BRANCH: not all that is added has the same scale; NOT_LINEAR: there is a scale, and the sum ends in
              an activation, or the map is on the constant; WRONG_AXIS: what is added varies along another axis than b;
              ZERO_SCALE: the constant cannot be divided by 0; OVERFLOW: it exceeds float64
    Source:   com.microsoft BiasAdd-1, BiasGelu-1, FastGelu-1
    """
    if set(inputs) - set(node.sources):
        return Refusal(Reason.NOT_LINEAR, "the operator reads the tensor as one of its parameters")
    one: Array = np.ones((1,) * node.rank)
    scales = [inputs[index].scale if index in inputs else one for index in node.sources]
    if any(np.any(scale != scales[0]) for scale in scales):
        return Refusal(Reason.OTHER_BRANCH, "not all tensors that the operator adds have the same scale")
    moved = Affine(scales[0], sum((affine.shift for affine in inputs.values()), start=node.bias))
    if not moved.has_scale:
        after = _with_bias(node, moved.shift)
        return after if isinstance(after, Refusal) else Moved(after)
    if node.activation is not None:
        return Refusal(node.activation.reason, node.activation.evidence)
    undone = moved.scale_alone().inverse()
    if isinstance(undone, Refusal):
        return undone
    after = _with_bias(node, moved.shift * undone.scale)
    return after if isinstance(after, Refusal) else Moved(after, {0: moved.scale_alone()})


def _with_bias(node: BiasedSum, bias: Array) -> BiasedSum | Refusal:
    wrong = [axis for axis, length in enumerate(bias.shape) if length > 1 and axis != node.axis]
    if wrong:
        return Refusal(
            Reason.WRONG_AXIS, f"the map varies along axis {wrong[0]}, what is added in the operator along {node.axis}"
        )
    if not np.isfinite(bias).all():
        return Refusal(Reason.OVERFLOW, "what is added exceeds the largest float64")
    return replace(node, bias=bias)
