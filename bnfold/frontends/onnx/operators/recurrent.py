"""LSTM, GRU and RNN, of which only the input side is linear."""

import numpy as np

from bnfold.frontends.common.undecodable import malformed
from bnfold.frontends.onnx.edit import OnnxEdit
from bnfold.frontends.onnx.operators.context import OnnxContext
from bnfold.frontends.onnx.operators.parameters import bias_for, edit_of, weight_for
from bnfold.frontends.onnx.operators.row import Family
from bnfold.refusal import Reason, Refusal
from bnfold.semantics import Recurrent

FAMILY = Family()


def encode_recurrent(context: OnnxContext, meaning: Recurrent) -> OnnxEdit | Refusal:
    """B holds the input half and the recurrent half side by side; only the first has changed."""
    weight = weight_for(context, meaning, lambda stored: stored)
    if meaning.bias is None:
        return edit_of(context, {1: weight})
    rest = np.zeros_like(meaning.bias)
    if context.node.has_input(3):
        rest = context.constants.require_exact(context.required(3))[:, meaning.bias.shape[1] :]
    both = np.concatenate([meaning.bias, rest], axis=1)
    return edit_of(context, {1: weight, 3: bias_for(context, both, slot=3)})


@FAMILY.operator("GRU", (7, 14, 22), encode=encode_recurrent)
@FAMILY.operator("LSTM", (7, 14, 22), encode=encode_recurrent)
@FAMILY.operator("RNN", (7, 14, 22), encode=encode_recurrent)
def decode_recurrent(context: OnnxContext) -> Recurrent:
    """W (directions, gates * hidden, inputs), B (directions, 2 * gates * hidden): input half, then recurrent half.

    Source: ONNX LSTM-7, -14, -22, GRU-7, -14, -22, RNN-7, -14, -22.
    """
    weight = context.parameter(1, dynamic=Reason.DYNAMIC_WEIGHT)
    bias = context.optional_parameter(3, dynamic=Reason.DYNAMIC_BIAS)
    if weight.ndim != 3 or (bias is not None and bias.shape != (weight.shape[0], 2 * weight.shape[1])):
        raise malformed(
            f"{context.node.op} has W of shape {weight.shape} and B of shape {getattr(bias, 'shape', None)}"
        )
    return Recurrent(weight, None if bias is None else bias[:, : weight.shape[1]], input_axis=2)
