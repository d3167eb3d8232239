"""Minus infinity in the place of scores, or added to them: no softmax gives it any weight."""

import numpy as np

from bnfold.affine import Array
from bnfold.frontends.common.undecodable import Undecodable
from bnfold.frontends.onnx.graph import Shape
from bnfold.frontends.onnx.operators.context import OnnxContext
from bnfold.frontends.onnx.operators.row import Family
from bnfold.refusal import Reason
from bnfold.semantics import Masking, Operand

FAMILY = Family()

_CHOSEN = (1, 2)


@FAMILY.operator("Where", (9, 16))
def decode_where(context: OnnxContext) -> Masking:
    """Where of scores and minus infinity, whatever chooses between them. Source: ONNX Where-9, -16."""
    hidden = [slot for slot in _CHOSEN if _is_minus_infinity(context.constant(slot))]
    if len(hidden) != 1:
        raise Undecodable(Reason.UNKNOWN_OPERATOR, "Where has a rule for minus infinity in the place of scores alone")
    (source,) = set(_CHOSEN) - set(hidden)
    shape, result = context.shape(source), context.output_shape()
    return Masking(_operand(shape, len(result)), len(result), source)


def decode_added_mask(context: OnnxContext) -> Masking | None:
    """An Add of a constant that holds minus infinity, and finite numbers else; None of any other.

    Source: ONNX Add-7, -13, -14.
    """
    mask = next(slot for slot in (0, 1) if context.constant(slot) is not None)
    values = context.constant(mask)
    if values is None or not (np.isfinite(values) | np.isneginf(values)).all():
        return None
    shape, result = context.shape(1 - mask), context.output_shape()
    return Masking(_operand(shape, len(result)), len(result), 1 - mask)


def _is_minus_infinity(values: Array | None) -> bool:
    return values is not None and values.size > 0 and bool(np.isneginf(values).all())


def _operand(shape: Shape, rank: int) -> Operand:
    lengths = tuple(length if isinstance(length, int) else None for length in shape)
    return Operand((1,) * (rank - len(shape)) + lengths, len(shape))
