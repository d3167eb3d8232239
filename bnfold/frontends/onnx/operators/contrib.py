"""Operators of com.microsoft that onnxruntime's optimisers write into files.

Source: https://github.com/microsoft/onnxruntime/blob/main/docs/ContribOperators.md
"""

from bnfold.affine import per_channel
from bnfold.frontends.common.products import as_matrix
from bnfold.frontends.common.undecodable import Undecodable, malformed
from bnfold.frontends.onnx.edit import OnnxEdit
from bnfold.frontends.onnx.graph import OnnxNode, Shape, Traits
from bnfold.frontends.onnx.operators.context import OnnxContext
from bnfold.frontends.onnx.operators.norms import edited, read_layer_norm
from bnfold.frontends.onnx.operators.parameters import bias_for, edit_of, weight_for
from bnfold.frontends.onnx.operators.row import Family
from bnfold.frontends.onnx.told_shapes import like_first_input, like_first_output, multiplied
from bnfold.refusal import Reason, Refusal
from bnfold.semantics import Normalisation, Opaque, Recurrent

FAMILY = Family()

_DOMAIN = "com.microsoft"
_KEEPS_SHAPE = Traits(tell_output_shape=like_first_input, tell_input_shape=like_first_output, type_of_input=0)
_SCALE, _BIAS = 2, 3
_EMBEDDED_SCALE, _EMBEDDED_BIAS = 5, 6

_CURVED = "is not linear"
FAMILY.without_decoder("Gelu", "QuickGelu", domain=_DOMAIN, why_not_linear=_CURVED, traits=_KEEPS_SHAPE)
FAMILY.without_decoder("BiasSoftmax", domain=_DOMAIN, why_not_linear=_CURVED, traits=_KEEPS_SHAPE)
FAMILY.without_decoder("BiasSplitGelu", "CDist", "Inverse", domain=_DOMAIN, why_not_linear=_CURVED)


@FAMILY.operator("GemmFloat8", (1,), domain=_DOMAIN, traits=Traits(tell_output_shape=multiplied))
def decode_gemm_float8(context: OnnxContext) -> Opaque:
    """Products of float8 numbers, of which no CPU of onnxruntime computes any. Source: com.microsoft GemmFloat8-1."""
    evidence = f"onnxruntime computes {context.node.op} on no CPU, so that no fold into it could be checked"
    return Opaque(Reason.UNKNOWN_OPERATOR, evidence)


def encode_skip_layer_norm(context: OnnxContext, meaning: Normalisation) -> OnnxEdit | Refusal:
    """Scale and bias are over the last axis."""
    return edited(context, meaning, first=meaning.affine.rank - 1, slots=(_SCALE, _BIAS))


@FAMILY.operator("SkipLayerNormalization", (1,), domain=_DOMAIN, encode=encode_skip_layer_norm, traits=_KEEPS_SHAPE)
def decode_skip_layer_norm(context: OnnxContext) -> Normalisation:
    """SkipLayerNormalization: a layer norm over the last axis of a sum, which is an output too.

    Source: com.microsoft SkipLayerNormalization-1.
    """
    return read_layer_norm(context, -1, slots=(_SCALE, _BIAS))


def encode_group_norm(context: OnnxContext, meaning: Normalisation) -> OnnxEdit | Refusal:
    """Scale and bias are along the channels."""
    return edited(context, meaning, first=meaning.axes[0])


@FAMILY.operator("GroupNorm", (1,), domain=_DOMAIN, encode=encode_group_norm, traits=_KEEPS_SHAPE)
@FAMILY.operator("SkipGroupNorm", (1,), domain=_DOMAIN, encode=encode_group_norm, traits=_KEEPS_SHAPE)
def decode_group_norm(context: OnnxContext) -> Normalisation:
    """GroupNorm, and SkipGroupNorm, which takes the norm of a sum that is an output too; activation 1 is SiLU.

    Source: com.microsoft GroupNorm-1, SkipGroupNorm-1.
    """
    if context.attribute("activation", 0):
        raise Undecodable(Reason.NOT_LINEAR, f"the activation in {context.node.op} is not linear")
    scale, bias = (context.parameter(slot, dynamic=Reason.DYNAMIC_PARAMETER) for slot in (1, 2))
    if scale.ndim != 1 or scale.shape != bias.shape:
        raise malformed(f"scale and bias have shapes {scale.shape} and {bias.shape}")
    rank = len(context.shape(0))
    axis = rank - 1 if context.attribute("channels_last", 1) else 1
    return Normalisation(per_channel(scale, bias, rank=rank, axis=axis), (axis,))


def encode_embed_layer_norm(context: OnnxContext, meaning: Normalisation) -> OnnxEdit | Refusal:
    """Scale and bias are over the last axis."""
    return edited(context, meaning, first=meaning.affine.rank - 1, slots=(_EMBEDDED_SCALE, _EMBEDDED_BIAS))


def _embedded(node: OnnxNode) -> Shape | None:
    """What embeddings of words make: an axis for the numbers of each."""
    words, table = ((value.shape if value is not None else None) for value in (node.inputs[0], node.inputs[2]))
    return None if words is None or table is None else (*words, *table[1:])


@FAMILY.operator(
    "EmbedLayerNormalization",
    (1,),
    domain=_DOMAIN,
    encode=encode_embed_layer_norm,
    traits=Traits(tell_output_shape=_embedded, type_of_input=2),
)
def decode_embed_layer_norm(context: OnnxContext) -> Normalisation:
    """EmbedLayerNormalization: a layer norm over the last axis of embeddings, whose sum is an output too.

    Source: com.microsoft EmbedLayerNormalization-1.
    """
    scale, bias = (
        context.parameter(slot, dynamic=Reason.DYNAMIC_PARAMETER) for slot in (_EMBEDDED_SCALE, _EMBEDDED_BIAS)
    )
    if scale.ndim != 1 or scale.shape != bias.shape:
        raise malformed(f"scale and bias have shapes {scale.shape} and {bias.shape}")
    return Normalisation(per_channel(scale, bias, rank=3, axis=2), (2,))


def encode_attention(context: OnnxContext, meaning: Recurrent) -> OnnxEdit | Refusal:
    """The weights of queries, keys and values side by side, and their biases."""
    weight = weight_for(context, meaning, as_matrix(outputs_first=False))
    bias = None if meaning.bias is None else bias_for(context, meaning.bias[0])
    return edit_of(context, {1: weight, 2: bias})


@FAMILY.operator("Attention", (1,), domain=_DOMAIN, encode=encode_attention, traits=Traits(type_of_input=0))
def decode_attention(context: OnnxContext) -> Recurrent:
    """Attention: queries, keys and values are products of one input. Source: com.microsoft Attention-1."""
    stored = context.parameter(1, dynamic=Reason.DYNAMIC_WEIGHT)
    bias = context.optional_parameter(2, dynamic=Reason.DYNAMIC_BIAS)
    if stored.ndim != 2 or (bias is not None and bias.shape != stored.shape[1:]):
        raise malformed(f"Attention has weights of shape {stored.shape} and a bias of {getattr(bias, 'shape', None)}")
    return Recurrent(stored.T[None], None if bias is None else bias[None], input_axis=2)
