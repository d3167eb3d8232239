"""Instance, group and layer norm: they end in a scale and a bias of their own."""

import numpy as np

from bnfold.affine import Affine, per_channel
from bnfold.frontends.common.broadcasting import with_leading_ones
from bnfold.frontends.common.parameters import NewParameter
from bnfold.frontends.common.undecodable import Undecodable, malformed
from bnfold.frontends.onnx.edit import OnnxEdit
from bnfold.frontends.onnx.graph import Traits
from bnfold.frontends.onnx.operators.context import OnnxContext
from bnfold.frontends.onnx.operators.parameters import edit_of, parameter_for
from bnfold.frontends.onnx.operators.row import Family
from bnfold.refusal import Reason, Refusal
from bnfold.semantics import Normalisation

FAMILY = Family()

_SCALE_AND_BIAS = (1, 2)


def encode_channel_norm(context: OnnxContext, meaning: Normalisation) -> OnnxEdit | Refusal:
    """Scale and bias are along the channels."""
    return edited(context, meaning, first=1)


def encode_layer_norm(context: OnnxContext, meaning: Normalisation) -> OnnxEdit | Refusal:
    """Scale and bias are over the last axes."""
    return edited(context, meaning, first=meaning.affine.rank - context.constants.require(context.required(1)).ndim)


def edited(
    context: OnnxContext,
    meaning: Normalisation,
    *,
    first: int,
    slots: tuple[int, int] = _SCALE_AND_BIAS,
) -> OnnxEdit | Refusal:
    """The edit of a norm's own scale and bias, over as many axes as its scale covered before.

    Args:
        context: the norm.
        meaning: what it is to mean.
        first: of those axes.
        slots: inputs that hold the scale and the bias.
    """
    at_scale, at_bias = slots
    covered = context.constants.require(context.required(at_scale))
    own = slice(first, first + covered.ndim)
    scale, bias = meaning.affine.scale, meaning.affine.shift
    shape = np.broadcast_shapes(covered.shape, scale.shape[own], bias.shape[own])
    parameters: dict[int, NewParameter | Refusal | None] = {
        at_scale: parameter_for(context, at_scale, np.broadcast_to(scale.reshape(scale.shape[own]), shape))
    }
    if context.node.has_input(at_bias) or meaning.affine.has_shift:
        like = at_bias if context.node.has_input(at_bias) else at_scale
        values = np.broadcast_to(bias.reshape(bias.shape[own]), shape)
        parameters[at_bias] = parameter_for(context, like, values)
    return edit_of(context, parameters)


@FAMILY.operator("GroupNormalization", (21,), encode=encode_channel_norm, traits=Traits(is_unknown_to_inference=True))
@FAMILY.operator("InstanceNormalization", (6, 22), encode=encode_channel_norm)
def decode_channel_norm(context: OnnxContext) -> Normalisation:
    """InstanceNormalization and GroupNormalization, one scale per channel.

    Source: ONNX InstanceNormalization-6, -22, GroupNormalization-21.
    """
    scale, bias = (context.parameter(slot, dynamic=Reason.DYNAMIC_PARAMETER) for slot in (1, 2))
    if scale.ndim != 1 or scale.shape != bias.shape:
        raise malformed(f"scale and bias have shapes {scale.shape} and {bias.shape}")
    return Normalisation(per_channel(scale, bias, rank=len(context.shape(0))), (1,))


@FAMILY.operator("LayerNormalization", (17,), encode=encode_layer_norm)
def decode_layer_norm(context: OnnxContext) -> Normalisation:
    """LayerNormalization over the last axes. Source: ONNX LayerNormalization-17."""
    statistics = [value for value in context.node.outputs[1:] if value is not None]
    if any(value.readers or value.is_output for value in statistics):
        raise Undecodable(Reason.STATISTICS_OUTPUTS, "its mean or deviation is read")
    return read_layer_norm(context, context.attribute("axis", -1), _SCALE_AND_BIAS)


def read_layer_norm(context: OnnxContext, axis: int, slots: tuple[int, int]) -> Normalisation:
    """A layer norm from an axis on, its scale and its bias, which may be absent, at these inputs."""
    rank = len(context.shape(0))
    axis %= rank
    scale = context.parameter(slots[0], dynamic=Reason.DYNAMIC_PARAMETER)
    bias = context.optional_parameter(slots[1], dynamic=Reason.DYNAMIC_PARAMETER)
    if scale.ndim != rank - axis:
        raise Undecodable(
            Reason.UNKNOWN_SHAPE, f"its scale has rank {scale.ndim}, its normalised axes are {rank - axis}"
        )
    bias = np.zeros(1) if bias is None else bias
    affine = Affine(with_leading_ones(scale, rank), with_leading_ones(bias, rank))
    return Normalisation(affine, tuple(range(axis, rank)))
