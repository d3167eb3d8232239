"""A constant times a tensor that is broadcast along it: scales of integers times what was measured at run time."""

from dataclasses import replace

import numpy as np

from bnfold.affine import Affine, Array, Widening
from bnfold.refusal import Reason, Refusal
from bnfold.rules.moves import Moved
from bnfold.semantics import AffineMap, BroadcastScale, Form, Meaning

_NO_SHIFT = Refusal(Reason.SHIFT_CANNOT_PASS, "a multiplication has no parameter that could take the shift")


def absorb_output_into_broadcast_scale(node: BroadcastScale, affine: Affine) -> Moved | Refusal:
    """A scale behind a broadcast multiplication becomes part of its constant.

    Before::  x -- c * x -- scale s -- y
    After::   x -- (s * c) * x -- y
    Law:      s * (c * x) == (s * c) * x
    Shapes:   s, c: of the rank of y; x is broadcast against c
    Refuses:  SHIFT_CANNOT_PASS: there is a shift; PARAMETER_GROWS: the constant would be larger than it and the scale;
              NOT_FINITE: the constant holds NaN or infinity; OVERFLOW: it exceeds float64 then
    Source:   ONNX Mul-14
    """
    return _NO_SHIFT if affine.has_shift else _with(node, affine.scale)


def absorb_input_into_broadcast_scale(node: BroadcastScale, affine: Affine) -> Moved | Refusal:
    """A scale in front of a broadcast multiplication becomes part of its constant.

    Before::  x -- scale s -- c * x -- y
    After::   x -- (s * c) * x -- y
    Law:      c * (s * x) == (s * c) * x
    Shapes:   s: of the rank of x, broadcast as x is; c: of the rank of y
    Refuses:  as absorb_output_into_broadcast_scale
    Source:   ONNX Mul-14
    """
    scale = affine.scale.reshape((1,) * (node.values.ndim - affine.rank) + affine.scale.shape)
    return _NO_SHIFT if affine.has_shift else _with(node, scale)


def absorb_widening(node: Meaning, affine: Widening) -> Moved | Refusal:
    """A scale along axes that a tensor does not have, as part of the constant that the tensor is made with.

    Before::  x -- c * x -- broadcast -- scale s -- y
    After::   x -- (s * c) * x -- broadcast -- y
    Law:      s * broadcast(c * x) == broadcast((s * c) * x)
    Shapes:   s: of the rank of y; c: of the rank of x, or less, or more
    Refuses:  WRONG_AXIS: no constant makes the tensor by a multiplication;
              else as absorb_output_into_broadcast_scale
    Source:   ONNX Mul-14, Div-14
    """
    if isinstance(node, BroadcastScale):
        scale = affine.scale
        values = node.values.reshape((1,) * (scale.ndim - node.values.ndim) + node.values.shape)
        return _with(replace(node, values=values), scale)
    if isinstance(node, AffineMap) and node.form is Form.SCALE:
        own = node.affine.scale
        values = own.reshape((1,) * (affine.rank - own.ndim) + own.shape)
        return _with(BroadcastScale(values, node.source), affine.scale)
    return Refusal(
        Reason.WRONG_AXIS, f"the map varies along axis {affine.varying_axes[0]}, on which a branch is repeated"
    )


def _with(node: BroadcastScale, scale: Array) -> Moved | Refusal:
    if not np.isfinite(node.values).all():
        return Refusal(Reason.NOT_FINITE, "the constant holds NaN or infinity before anything is folded")
    values = node.values * scale
    if values.size > max(node.values.size, scale.size):
        evidence = f"a constant of {node.values.size} numbers would become one of {values.size}"
        return Refusal(Reason.PARAMETER_GROWS, evidence)
    if not np.isfinite(values).all():
        return Refusal(Reason.OVERFLOW, "a folded parameter exceeds the largest float64")
    return Moved(replace(node, values=values))
