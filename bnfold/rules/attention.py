"""A softmax, what is around it in attention, and attention in one node: what they let pass, and what they forget."""

from collections.abc import Mapping

import numpy as np

from bnfold.affine import Affine, Drift
from bnfold.refusal import Reason, Refusal
from bnfold.rules.joins import aligned, on_operand
from bnfold.rules.matrix_product import varies
from bnfold.rules.moves import Moved
from bnfold.semantics import (
    AffineMap,
    Attention,
    Commuting,
    Form,
    Masking,
    Meaning,
    NoShift,
    Softmax,
    Sum,
)

_NO_SCALE = Refusal(Reason.NOT_LINEAR, "minus infinity is in the place of some numbers, and takes no scale")


def push_into_softmax(node: Softmax, affine: Affine) -> Moved | Refusal:
    """A shift in front of a softmax that is alike along its axes is forgotten.

    Before::  x -- shift t -- softmax -- y
    After::   x -- softmax -- y
    Law:      softmax(x + t) == softmax(x), where t is alike along the axes over which the softmax is taken
    Shapes:   x, y: (d_1, ..., d_r); t: of length 1 along those axes
    Refuses:  NOT_LINEAR: there is a scale; WRONG_AXIS: the shift varies along such an axis
    Source:   ONNX Softmax-13, LogSoftmax-13
    """
    if affine.has_scale:
        return Refusal(Reason.NOT_LINEAR, f"{node.name} is not linear, and forgets no scale")
    wrong = [axis for axis in node.axes if varies(affine.shift, axis)]
    if wrong:
        return Refusal(Reason.WRONG_AXIS, f"the shift varies along axis {wrong[0]}, over which {node.name} is taken")
    return Moved(None)


def push_through_masking(node: Masking, affine: Affine) -> Moved | Refusal:
    """A shift in front of a mask of minus infinity acts behind it.

    Before::  x -- shift t -- mask -- y
    After::   x -- mask -- shift t -- y
    Law:      mask(x + t) == mask(x) + t, since minus infinity stays what it is
    Shapes:   y: (d_1, ..., d_r); x, t: aligned with it at their last axes, each length 1 or that of y
    Refuses:  NOT_LINEAR: there is a scale
    Source:   ONNX Add-14, Where-16
    """
    return _NO_SCALE if affine.has_scale else Moved(None, {0: aligned(affine, node.rank)})


def pull_through_masking(node: Masking, affine: Affine) -> Moved | Refusal:
    """A shift behind a mask of minus infinity acts in front of it.

    Before::  x -- mask -- shift t -- y
    After::   x -- shift t -- mask -- y
    Law:      mask(x) + t == mask(x + t), since minus infinity stays what it is
    Shapes:   y: (d_1, ..., d_r); x: aligned with it at its last axes, each length 1 or that of y; t: (1 or d_1, ...,
              1 or d_r), of length 1 where x is repeated
    Refuses:  NOT_LINEAR: there is a scale; WRONG_AXIS: the shift varies along an axis on which x is repeated;
              UNKNOWN_SHAPE: whether it does is not known before run time
    Source:   ONNX Add-14, Where-16
    """
    if affine.has_scale:
        return _NO_SCALE
    shift = on_operand(affine.shift, node.operand)
    return (
        shift if isinstance(shift, Refusal) else Moved(None, {node.source: Affine(np.ones((1,) * shift.ndim), shift)})
    )


def push_through_attention(node: Attention, inputs: Mapping[int, Affine]) -> Moved | Refusal:
    """A shift on the keys of attention is forgotten, a map of the values that is alike in all of them acts behind.

    Before::  k -- shift u; v -- affine(s, t); attention(q, k, v) -- y
    After::   attention(q, k, v) -- affine(s, t) -- y
    Law:      softmax(q (k + u)') (s * v + t) == s * (softmax(q k') v) + t
    Shapes:   q, y: (..., n, d), k, v: (..., m, d); u: alike along the keys; s, t: (d,), or (..., 1, d) where y has a
              place for every place of v
    Refuses:  NOT_LINEAR: there is a map on the queries or the mask, or a scale on the keys, or on values to which the
              node adds a bias;
              WRONG_AXIS: u varies along the keys, or s or t along the values or along what y repeats;
              SHIFT_CANNOT_PASS: something else sees the scores, or the rows of weights need not sum to 1
    Source:   ONNX Attention-23, -24, -25, com.microsoft MultiHeadAttention-1
    """
    behind: dict[int, Affine] = {}
    for index, affine in inputs.items():
        if index == node.key and not affine.has_scale:
            if varies(affine.shift, node.rank - 2):
                return Refusal(Reason.WRONG_AXIS, "the shift varies along the keys")
        elif index == node.value:
            refusal = _beside_features(node, affine)
            if refusal is not None:
                return refusal
            behind[0] = affine
        else:
            return Refusal(Reason.NOT_LINEAR, "attention is not linear in that tensor, or something else sees it")
    return Moved(None, behind)


def pull_through_attention(node: Attention, affine: Affine) -> Moved | Refusal:
    """A map behind attention that is alike for all queries acts on the values instead.

    Before::  attention(q, k, v) -- affine(s, t) -- y
    After::   v -- affine(s, t); attention(q, k, v) -- y
    Law:      s * (softmax(q k') v) + t == softmax(q k') (s * v + t)
    Shapes:   y: (..., n, d), v: (..., m, d); s, t: (d,), or (..., 1, d) where y has a place for every place of v
    Refuses:  SHIFT_CANNOT_PASS: the rows of weights need not sum to 1; WRONG_AXIS: the map varies along another axis;
              NOT_LINEAR: there is a scale, and the node adds a bias to the values
    Source:   ONNX Attention-23, -24, -25, com.microsoft MultiHeadAttention-1
    """
    if node.value is None:
        return Refusal(Reason.SHIFT_CANNOT_PASS, "what weighs the values need not sum to 1")
    return _beside_features(node, affine) or Moved(None, {node.value: affine})


def _beside_features(node: Attention, affine: Affine) -> Refusal | None:
    wrong = [axis for axis in affine.varying_axes if axis not in (*node.heads, node.rank - 1)]
    if wrong:
        evidence = f"the map varies along axis {wrong[0]}, not over the features"
        return Refusal(Reason.WRONG_AXIS, f"{evidence} or heads" if node.heads else evidence)
    if node.adds_bias and affine.has_scale:
        return Refusal(Reason.NOT_LINEAR, "the node adds a bias to the values, which no scale of theirs reaches")
    return None


def push_drift(meaning: Meaning, inputs: Mapping[int, Affine]) -> Moved | Refusal:
    """Numbers that are not known, alike along one axis, pass what is linear there, and end in a softmax over it.

    Before::  x -- shift d -- c * x, x + m, mask or softmax -- y
    After::   x -- c * x -- shift c * d -- y; x -- x + m -- shift d -- y; x -- softmax -- y
    Law:      c * (x + d) == c * x + c * d; (x + d) + m == (x + m) + d; softmax(x + d) == softmax(x)
    Shapes:   x, y: (d_1, ..., d_r); d: of length 1 along the axis; c: likewise; m: any that x need not grow for
    Refuses:  SHIFT_CANNOT_PASS: whatever else reads it
    Source:   ONNX MatMul-13, Softmax-13, Mul-14, Add-14
    """
    (index, drift), *others = inputs.items()
    passes = not others and isinstance(drift, Drift) and _drifts(meaning, index, drift.axis)
    if passes and isinstance(meaning, Softmax):
        return Moved(None)
    if passes:
        return Moved(None, {0: drift})
    return Refusal(
        Reason.SHIFT_CANNOT_PASS, "what a shift adds to scores would be seen, and is not known before run time"
    )


def _drifts(meaning: Meaning, index: int, axis: int) -> bool:
    """Whether something unknown that is alike along the axis stays so behind a node."""
    match meaning:
        case Softmax(axes=axes, source=source):
            return axes == (axis,) and index == source
        case AffineMap(affine=affine, source=source):
            same_rank = affine.rank == axis + 1
            return (
                index == source
                and same_rank
                and not varies(affine.scale, axis)
                and meaning.form is not Form.SCALE_AND_SHIFT
            )
        case Sum(operands=operands, rank=rank, of_one_tensor=one):
            return not one and operands[index].rank == rank == axis + 1
        case Masking(operand=operand, rank=rank, source=source):
            return index == source and operand.rank == rank == axis + 1
        case Commuting(mixed_axes=(), needs_non_negative_scale=False, shift_factor=factor, source=source):
            return index == source and not isinstance(factor, NoShift)
    return False
