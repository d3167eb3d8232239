"""Constants of the operators that stand for a BatchNorm: rounded once, in the type of the tensor."""

import numpy as np

from bnfold.frontends.common.convolutions import stored_outputs_first
from bnfold.frontends.common.parameters import (
    NewParameter,
    bias_per_channel,
    new_operand,
    new_parameter,
    new_weight,
    without_leading_ones,
)
from bnfold.frontends.common.precision import judge_rows
from bnfold.refusal import Refusal
from bnfold.semantics import AffineMap, Contraction, Form
from bnfold.weight import Weight


def operand_of(meaning: AffineMap, dtype: np.dtype[np.generic]) -> NewParameter | Refusal:
    """What a product multiplies by, or a sum adds; without an axis for the batch.

    Returns:
        The constant; OVERFLOW where the type cannot hold it, UNDERFLOW where it would lose digits of a scale.
    """
    rank = meaning.affine.rank - 1
    if meaning.form is Form.SHIFT:
        return new_operand(without_leading_ones(meaning.affine.shift, rank), dtype, meaning.form)
    scale = without_leading_ones(meaning.affine.scale, rank)
    # A scale is a weight with one number per channel, and no more of it may be lost.
    dead = judge_rows(Weight(scale.reshape(-1, 1, 1)), dtype)
    return dead if isinstance(dead, Refusal) else new_operand(scale, dtype, meaning.form)


def weight_and_bias(meaning: Contraction, dtype: np.dtype[np.generic]) -> tuple[NewParameter, NewParameter] | Refusal:
    """Those of a convolution, both with the output channels first.

    Returns:
        The two; OVERFLOW or UNDERFLOW where the type cannot hold one of them.
    """
    weight = new_weight(meaning, dtype, stored_outputs_first)
    bias = new_parameter(bias_per_channel(meaning), dtype)
    if isinstance(weight, Refusal):
        return weight
    return bias if isinstance(bias, Refusal) else (weight, bias)
