"""Where, Max and Min: each number is that of one of several tensors, of which one may be a constant."""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from bnfold.affine import Affine, Array, identity
from bnfold.refusal import Reason, Refusal
from bnfold.rules.commuting import why_order_turns
from bnfold.rules.joins import aligned, on_operand
from bnfold.rules.moves import Moved
from bnfold.semantics import Choice


def pull_through_choice(node: Choice, affine: Affine) -> Moved | Refusal:
    """A map behind a choice acts on all tensors that are chosen from; a constant takes it.

    Before::  a, c -- where -- affine(s, t) -- y
    After::   a -- affine(s, t); where(a, s * c + t) -- y
    Law:      s * where(a, c) + t == where(s * a + t, s * c + t); s * max(a, c) + t == max(s * a + t, s * c + t) for
              s that is not negative
    Shapes:   y: (d_1, ..., d_r); a, c: aligned with it at their last axes, each length 1 or that of y; s, t: of the
              rank of y, of length 1 where a is repeated
    Refuses:  WRONG_AXIS: the map varies along an axis on which a tensor is repeated; UNKNOWN_SHAPE: whether it does is
              not known before run time; NEEDS_NON_NEGATIVE_SCALE: s is negative in front of a maximum or minimum;
              PARAMETER_GROWS: a constant would be larger than it and the map;
              NOT_FINITE: a constant holds NaN or infinity; OVERFLOW: it exceeds float64 then
    Source:   ONNX Where-16, Max-13, Min-13
    """
    turned = why_order_turns(affine) if node.by_size else None
    if turned is not None:
        return turned
    requirements: dict[int, Affine] = {}
    for index, operand in node.operands.items():
        scale, shift = (on_operand(values, operand) for values in (affine.scale, affine.shift))
        if isinstance(scale, Refusal):
            return scale
        if isinstance(shift, Refusal):
            return shift
        requirements[index] = Affine(scale, shift)
    after = _with_constants(node, affine)
    return after if isinstance(after, Refusal) else Moved(after, requirements)


def push_through_choice(node: Choice, inputs: Mapping[int, Affine]) -> Moved | Refusal:
    """A map in front of a choice acts behind it, if all tensors have it; a constant takes its inverse.

    Where the mask is fixed, each place has the map of the tensor that is chosen there.

    Before::  a -- affine(s, t); c; where -- y
    After::   a; where(a, (c - t) / s) -- affine(s, t) -- y
    Law:      where(s * a + t, c) == s * where(a, (c - t) / s) + t; max(s * a + t, c) == s * max(a, (c - t) / s) + t
              for positive s
    Shapes:   y: (d_1, ..., d_r); a, c: aligned with it at their last axes, each length 1 or that of y
    Refuses:  OTHER_BRANCH: the tensors have different maps, and the mask is not fixed; ZERO_SCALE: a constant cannot
              take the inverse; NEEDS_NON_NEGATIVE_SCALE: s is negative in front of a maximum or minimum;
              NOT_LINEAR: the map is on the mask; what a constant refuses, as above
    Source:   ONNX Where-16, Max-13, Min-13
    """
    if set(inputs) - set(node.operands):
        return Refusal(Reason.NOT_LINEAR, "the operator reads the tensor as one of its parameters")
    maps = {
        index: aligned(inputs[index], node.rank) if index in inputs else identity(node.rank) for index in node.operands
    }
    one, *others = maps.values()
    if any(not one.equals(other) for other in others):
        return _by_place(node, maps)
    turned = why_order_turns(one) if node.by_size else None
    if turned is not None:
        return turned
    undone = one.inverse() if node.constants else identity(node.rank)
    if isinstance(undone, Refusal):
        return undone if node.mask is None else _by_place(node, maps)
    after = _with_constants(node, undone)
    return after if isinstance(after, Refusal) else Moved(after, {0: one})


def _by_place(node: Choice, maps: Mapping[int, Affine]) -> Moved | Refusal:
    if node.mask is None:
        return Refusal(Reason.OTHER_BRANCH, "the other tensor that is chosen from does not have the same map")
    whole = {index: maps.get(index, identity(node.rank)) for index in (*node.operands, *node.constants)}
    first, second = (whole[index] for index in sorted(whole))
    scale, shift = (
        np.where(node.mask, one, other) for one, other in ((first.scale, second.scale), (first.shift, second.shift))
    )
    return Moved(None, {0: Affine(scale, shift)})


def _with_constants(node: Choice, affine: Affine) -> Choice | Refusal | None:
    changed: dict[int, Array] = {}
    for index, values in node.constants.items():
        if not np.isfinite(values).all():
            return Refusal(Reason.NOT_FINITE, "a constant that is chosen holds NaN or infinity")
        mapped: Array = values * affine.scale + affine.shift
        if mapped.size > max(values.size, affine.scale.size, affine.shift.size):
            evidence = f"a constant of {values.size} numbers would become one of {mapped.size}"
            return Refusal(Reason.PARAMETER_GROWS, evidence)
        if not np.isfinite(mapped).all():
            return Refusal(Reason.OVERFLOW, "a constant that is chosen exceeds the largest float64")
        changed[index] = mapped
    return replace(node, constants=changed) if changed else None
