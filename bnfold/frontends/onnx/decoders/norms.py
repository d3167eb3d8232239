"""Instance, group and layer norm: they end in a scale and a bias of their own."""

import numpy as np

from bnfold.affine import Affine, per_channel
from bnfold.frontends.common.broadcasting import with_leading_ones
from bnfold.frontends.common.undecodable import Undecodable, malformed
from bnfold.frontends.onnx.attributes import attribute
from bnfold.frontends.onnx.decoders.context import OnnxContext
from bnfold.refusal import Reason
from bnfold.semantics import Normalisation


def decode_channel_norm(context: OnnxContext) -> Normalisation:
    """InstanceNormalization and GroupNormalization, one scale per channel.

    Source: ONNX InstanceNormalization-6, -22, GroupNormalization-21.
    """
    scale, bias = (context.parameter(slot, dynamic=Reason.DYNAMIC_PARAMETER) for slot in (1, 2))
    if scale.ndim != 1 or scale.shape != bias.shape:
        raise malformed(f"scale and bias have shapes {scale.shape} and {bias.shape}")
    return Normalisation(per_channel(scale, bias, rank=len(context.shape(0))), (1,))


def decode_layer_norm(context: OnnxContext) -> Normalisation:
    """LayerNormalization over the last axes. Source: ONNX LayerNormalization-17."""
    statistics = [value for value in context.node.outputs[1:] if value is not None]
    if any(value.readers or value.is_output for value in statistics):
        raise Undecodable(Reason.STATISTICS_OUTPUTS, "its mean or deviation is read")
    rank = len(context.shape(0))
    axis = attribute(context.node, "axis", -1) % rank
    scale = context.parameter(1, dynamic=Reason.DYNAMIC_PARAMETER)
    bias = context.optional_parameter(2, dynamic=Reason.DYNAMIC_PARAMETER)
    if scale.ndim != rank - axis:
        raise Undecodable(
            Reason.UNKNOWN_SHAPE, f"its scale has rank {scale.ndim}, its normalised axes are {rank - axis}"
        )
    bias = np.zeros(1) if bias is None else bias
    affine = Affine(with_leading_ones(scale, rank), with_leading_ones(bias, rank))
    return Normalisation(affine, tuple(range(axis, rank)))
