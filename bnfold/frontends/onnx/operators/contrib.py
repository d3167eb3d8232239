"""Operators of com.microsoft that onnxruntime's optimisers write into files.

Source: https://github.com/microsoft/onnxruntime/blob/main/docs/ContribOperators.md
"""

import numpy as np

from bnfold.affine import per_channel
from bnfold.frontends.common.parameters import bias_along_output
from bnfold.frontends.common.undecodable import Undecodable, malformed
from bnfold.frontends.onnx.attributes import attribute
from bnfold.frontends.onnx.constants import OnnxConstants
from bnfold.frontends.onnx.graph import OnnxNode, Shape, Traits
from bnfold.frontends.onnx.node_edits import OnnxEdit, bias_for, edit_of, weight_for
from bnfold.frontends.onnx.operators.context import OnnxContext
from bnfold.frontends.onnx.operators.norms import edited, read_layer_norm
from bnfold.frontends.onnx.operators.row import Family, encodes
from bnfold.frontends.onnx.told_shapes import like_first_input, like_first_output, times_matrix
from bnfold.refusal import Reason, Refusal
from bnfold.semantics import Contraction, Normalisation, Recurrent
from bnfold.weight import Weight
from bnfold.window import Window

FAMILY = Family()

_DOMAIN = "com.microsoft"
_KEEPS_SHAPE = Traits(tell_output_shape=like_first_input, tell_input_shape=like_first_output, type_of_input=0)
_SCALE, _BIAS = 2, 3
_EMBEDDED_SCALE, _EMBEDDED_BIAS = 5, 6
_TRANSPOSED_ACTIVATIONS = ("transA", "transBatchA", "transBatchB")

FAMILY.without_decoder(
    "BiasGelu", "FastGelu", "Gelu", "QuickGelu", domain=_DOMAIN, why_not_linear="is not linear", traits=_KEEPS_SHAPE
)


@encodes(Contraction)
def encode_fused_mat_mul(node: OnnxNode, meaning: Contraction, constants: OnnxConstants) -> OnnxEdit | Refusal:
    """Alpha is in the weight, and becomes 1; an Add behind it takes a bias."""
    outputs_first = attribute(node, "transB", 0)
    weight = weight_for(node, meaning, constants, lambda stored: stored[0] if outputs_first else stored[0].T)
    bias = None if meaning.bias is None else bias_for(node, bias_along_output(meaning), constants)
    return edit_of(node, {1: weight}, constants, float_attributes={"alpha": 1.0}, bias_behind=bias)


@FAMILY.operator(
    "FusedMatMul",
    (1,),
    domain=_DOMAIN,
    encode=encode_fused_mat_mul,
    traits=Traits(tell_output_shape=times_matrix, type_of_input=0),
)
def decode_fused_mat_mul(context: OnnxContext) -> Contraction:
    """FusedMatMul: alpha * A B or alpha * A B', with a constant matrix B. Source: com.microsoft FusedMatMul-1."""
    node = context.node
    if any(attribute(node, name, 0) for name in _TRANSPOSED_ACTIVATIONS):
        raise Undecodable(Reason.UNKNOWN_OPERATOR, "FusedMatMul with transposed activations has no rule")
    context.require_float(1)
    stored = context.weight(1)
    if stored.ndim != 2:
        raise Undecodable(Reason.WRONG_AXIS, f"FusedMatMul has a constant of shape {stored.shape}, only rank 2 folds")
    matrix = stored if attribute(node, "transB", 0) else stored.T
    weight = Weight(matrix[None]).times(np.ones((1, 1, 1)) * attribute(node, "alpha", 1.0))
    rank = len(context.shape(0))
    last = rank - 1
    return Contraction(weight, None, rank, output_axis=last, input_axis=last, holds_bias=False, window=Window())


@encodes(Normalisation)
def encode_skip_layer_norm(node: OnnxNode, meaning: Normalisation, constants: OnnxConstants) -> OnnxEdit | Refusal:
    """Scale and bias are over the last axis."""
    return edited(node, meaning, constants, first=meaning.affine.rank - 1, slots=(_SCALE, _BIAS))


@FAMILY.operator("SkipLayerNormalization", (1,), domain=_DOMAIN, encode=encode_skip_layer_norm, traits=_KEEPS_SHAPE)
def decode_skip_layer_norm(context: OnnxContext) -> Normalisation:
    """SkipLayerNormalization: a layer norm over the last axis of a sum, which is an output too.

    Source: com.microsoft SkipLayerNormalization-1.
    """
    return read_layer_norm(context, -1, slots=(_SCALE, _BIAS))


@encodes(Normalisation)
def encode_embed_layer_norm(node: OnnxNode, meaning: Normalisation, constants: OnnxConstants) -> OnnxEdit | Refusal:
    """Scale and bias are over the last axis."""
    return edited(node, meaning, constants, first=meaning.affine.rank - 1, slots=(_EMBEDDED_SCALE, _EMBEDDED_BIAS))


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


@encodes(Recurrent)
def encode_attention(node: OnnxNode, meaning: Recurrent, constants: OnnxConstants) -> OnnxEdit | Refusal:
    """The weights of queries, keys and values side by side, and their biases."""
    weight = weight_for(node, meaning, constants, lambda stored: stored[0].T)
    bias = None if meaning.bias is None else bias_for(node, meaning.bias[0], constants)
    return edit_of(node, {1: weight, 2: bias}, constants)


@FAMILY.operator("Attention", (1,), domain=_DOMAIN, encode=encode_attention, traits=Traits(type_of_input=0))
def decode_attention(context: OnnxContext) -> Recurrent:
    """Attention: queries, keys and values are products of one input. Source: com.microsoft Attention-1."""
    stored = context.parameter(1, dynamic=Reason.DYNAMIC_WEIGHT)
    bias = context.optional_parameter(2, dynamic=Reason.DYNAMIC_BIAS)
    if stored.ndim != 2 or (bias is not None and bias.shape != stored.shape[1:]):
        raise malformed(f"Attention has weights of shape {stored.shape} and a bias of {getattr(bias, 'shape', None)}")
    return Recurrent(stored.T[None], None if bias is None else bias[None], input_axis=2)
