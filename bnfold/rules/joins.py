"""Add, Sub, Sum and Mul of tensors that are all computed at run time."""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from bnfold.affine import Affine, Array, Widening
from bnfold.refusal import Reason, Refusal
from bnfold.rules.moves import Moved
from bnfold.semantics import Operand, Product, Sum


def pull_through_sum(node: Sum, affine: Affine) -> Moved | Refusal:
    """A scale behind a sum goes to every branch, a shift to any one of them, or in equal parts to a tensor's every use.

    Before::  a, b -- a + b -- affine(s, t) -- y
    After::   a -- affine(s, t); b -- scale s; a + b -- y
    Law:      s * (a + b) + t == (s * a + t) + s * b; s * (a / 2 + b / 2) + t == (s * a + 2 t) / 2 + s * b / 2;
              s * (a + a) + t == (s * a + t / 2) + (s * a + t / 2)
    Shapes:   y: (d_1, ..., d_r); a, b: aligned with it at their last axes, each length 1 or that of y; s, t:
              (1 or d_1, ..., 1 or d_r), of length 1 where a branch is repeated
    Refuses:  WRONG_AXIS: s varies along an axis on which a branch is repeated, or t does so for every branch;
              UNKNOWN_SHAPE: whether it does is not known before run time
    Source:   ONNX Add-14, Sub-14, Sum-13
    """
    scales: dict[int, Affine] = {}
    if affine.has_scale:
        for index, operand in enumerate(node.operands):
            scale = on_operand(affine.scale, operand)
            if isinstance(scale, Refusal):
                return scale
            scales[index] = Affine(scale, np.zeros((1,) * operand.rank))
    if not affine.has_shift:
        return Moved(None, scales)
    shifts = [on_operand(affine.shift, operand) for operand in node.operands]
    uses = sum(operand.sign for operand in node.operands)
    first = shifts[0]
    if node.of_one_tensor and uses and not isinstance(first, Refusal):
        scale = scales[0].scale if scales else np.ones((1,) * node.rank)
        return Moved(None, dict.fromkeys(range(len(node.operands)), Affine(scale, first / uses)))
    choices = []
    for index, (shift, operand) in enumerate(zip(shifts, node.operands, strict=True)):
        if not isinstance(shift, Refusal):
            scale = scales[index].scale if index in scales else np.ones((1,) * operand.rank)
            choices.append({**scales, index: Affine(scale, shift / operand.sign)})
    if not choices:
        return next(shift for shift in shifts if isinstance(shift, Refusal))
    return Moved(None, choices[0], tuple(choices[1:]))


def push_through_sum(node: Sum, inputs: Mapping[int, Affine]) -> Moved | Refusal:
    """A shift in front of a sum acts behind it; a scale only if every branch has the same.

    Before::  a -- shift t; b; a + b -- y
    After::   a, b -- a + b -- shift t -- y
    Law:      (a + t) + b == (a + b) + t; s * a + s * b == s * (a + b)
    Shapes:   a, b, s, t: aligned with y at their last axes, each length 1 or that of y
    Refuses:  OTHER_BRANCH: another branch does not have the same scale
    Source:   ONNX Add-14, Sub-14, Sum-13
    """
    maps = {index: aligned(affine, node.rank) for index, affine in inputs.items()}
    scales = [maps[index].scale if index in maps else np.ones((1,) * node.rank) for index in range(len(node.operands))]
    other = next((index for index, scale in enumerate(scales) if np.any(scale != scales[0])), None)
    if other is not None:
        furthest = np.abs(scales[other] - scales[0]).max()
        return Refusal(
            Reason.OTHER_BRANCH,
            f"branch {other} of the sum does not have the scale of branch 0: they differ by {furthest:.3g}",
        )
    shift: Array = np.zeros((1,) * node.rank)
    for index, affine in maps.items():
        shift = shift + node.operands[index].sign * affine.shift
    return Moved(None, {0: Affine(scales[0], shift)})


def pull_through_product(node: Product, affine: Affine) -> Moved | Refusal:
    """A scale behind a product goes to any one factor; to one that is broadcast along its axes, as a `Widening`.

    Where a factor is made with a constant, and others read it as well, the product gets one of its own. A shift stays
    behind, where the product is the end of a linear operator: it is the bias of that.

    Before::  a, b -- a * b + c -- affine(s, t) -- y
    After::   a -- scale s; a * b + (s * c + t) -- y
    Law:      s * (a * b + c) + t == (s * a) * b + (s * c + t); s * (a * (k z)) == a * ((s k) z)
    Shapes:   y: (d_1, ..., d_r); a, b: aligned with it at their last axes, each length 1 or that of y; c, s, t:
              (1 or d_1, ..., 1 or d_r), s of length 1 where the factor is repeated
    Refuses:  SHIFT_CANNOT_PASS: a shift belongs to no factor of another product;
              WRONG_AXIS: s varies along an axis on which every factor is repeated; PARAMETER_GROWS: the constant of a
              factor would be larger than it and the scale;
              UNKNOWN_SHAPE: whether it does is not known before run time
    Source:   ONNX Mul-14
    """
    if affine.has_shift and not node.takes_bias:
        return Refusal(Reason.SHIFT_CANNOT_PASS, "a product of two activations keeps no shift")
    behind = None
    if affine.has_shift or node.bias is not None:
        bias = affine.scale * (0.0 if node.bias is None else node.bias) + affine.shift
        behind = replace(node, bias=bias)
    if affine.has_shift and not affine.has_scale:
        return Moved(behind)
    if node.constants:
        index, constant = next(iter(node.constants.items()))
        scaled = constant * affine.scale
        if scaled.size > max(constant.size, affine.scale.size):
            evidence = f"a constant of {constant.size} numbers would become one of {scaled.size}"
            return Refusal(Reason.PARAMETER_GROWS, evidence)
        return Moved(replace(behind or node, constants={**node.constants, index: scaled}))
    scales = [on_operand(affine.scale, operand) for operand in node.operands]
    choices = [
        {index: Affine(scale, np.zeros((1,) * scale.ndim))}
        for index, scale in enumerate(scales)
        if not isinstance(scale, Refusal)
    ]
    wide = Widening(affine.scale, np.zeros((1,) * affine.rank))
    choices += [
        {index: wide}
        for index, scale in enumerate(scales)
        if isinstance(scale, Refusal) and scale.reason is Reason.WRONG_AXIS
    ]
    if not choices:
        return next(scale for scale in scales if isinstance(scale, Refusal))
    return Moved(behind, choices[0], tuple(choices[1:]))


def push_through_product(node: Product, inputs: Mapping[int, Affine]) -> Moved | Refusal:
    """Scales in front of a product act behind it, multiplied.

    Before::  a -- scale s; b; a * b + c -- y
    After::   a, b -- a * b -- affine(s, c) -- y
    Law:      (s * a) * b + c == s * (a * b) + c
    Shapes:   a, b, c, s: aligned with y at their last axes, each length 1 or that of y
    Refuses:  SHIFT_CANNOT_PASS: (a + t) * b is not a * b plus a constant
    Source:   ONNX Mul-14
    """
    scale: Array = np.ones((1,) * node.rank)
    for affine in inputs.values():
        if affine.has_shift:
            return Refusal(Reason.SHIFT_CANNOT_PASS, "a product of two activations keeps no shift")
        scale = scale * aligned(affine, node.rank).scale
    if node.bias is None:
        return Moved(None, {0: Affine(scale, np.zeros((1,) * node.rank))})
    return Moved(replace(node, bias=None), {0: Affine(scale, node.bias)})


def aligned(affine: Affine, rank: int) -> Affine:
    """The same map with axes of length 1 in front, up to this rank."""
    shape = (1,) * (rank - affine.rank)
    return Affine(affine.scale.reshape(shape + affine.scale.shape), affine.shift.reshape(shape + affine.shift.shape))


def on_operand(values: Array, operand: Operand) -> Array | Refusal:
    """Parameters for the result, as parameters for one operand of it."""
    for axis in range(values.ndim):
        if values.shape[axis] == 1 or values.shape[axis] == operand.aligned_shape[axis]:
            continue
        first = np.take(values, [0], axis=axis)
        if np.any(values != first):
            if operand.aligned_shape[axis] is None:
                return Refusal(
                    Reason.UNKNOWN_SHAPE, f"the length of a branch on axis {axis} is not known before run time"
                )
            return Refusal(Reason.WRONG_AXIS, f"the map varies along axis {axis}, on which a branch is repeated")
        values = first
    return values.reshape(values.shape[values.ndim - operand.rank :])
