"""LSTM, GRU and RNN, of which only the input side is linear."""

from bnfold.frontends.common.undecodable import malformed
from bnfold.frontends.onnx.decoders.context import OnnxContext
from bnfold.refusal import Reason
from bnfold.semantics import Recurrent


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
