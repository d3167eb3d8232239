"""Minus infinity in the place of scores, or added to them: no softmax gives it any weight."""

import numpy as np

from bnfold.affine import Array
from bnfold.frontends.onnx.graph import Shape
from bnfold.frontends.onnx.operators.context import OnnxContext
from bnfold.semantics import Masking, Operand


def decode_added_mask(context: OnnxContext) -> Masking | None:
    """An Add of a constant that holds minus infinity, and finite numbers else; None of any other.

    Source: ONNX Add-7, -13, -14.
    """
    mask = next(slot for slot in (0, 1) if context.constant(slot) is not None)
    values = context.constant(mask)
    if values is None or not (np.isfinite(values) | np.isneginf(values)).all():
        return None
    shape, result = context.shape(1 - mask), context.output_shape()
    return Masking(operand(shape, len(result)), len(result), 1 - mask)


def hides_scores(values: Array) -> bool:
    """Whether a constant is minus infinity everywhere."""
    return values.size > 0 and bool(np.isneginf(values).all())


def operand(shape: Shape, rank: int) -> Operand:
    """A tensor that is aligned with one of this rank at its last axes."""
    lengths = tuple(length if isinstance(length, int) else None for length in shape)
    return Operand((1,) * (rank - len(shape)) + lengths, len(shape))
