"""Operators of com.microsoft that add a bias before anything else, which onnxruntime's optimisers write.

Source: https://github.com/microsoft/onnxruntime/blob/main/docs/ContribOperators.md
"""

from collections.abc import Sequence

from bnfold.affine import Array
from bnfold.frontends.common.broadcasting import with_leading_ones
from bnfold.frontends.common.undecodable import Undecodable, malformed
from bnfold.frontends.onnx.edit import OnnxEdit
from bnfold.frontends.onnx.graph import Traits
from bnfold.frontends.onnx.operators.context import OnnxContext
from bnfold.frontends.onnx.operators.parameters import edit_of, parameter_for
from bnfold.frontends.onnx.operators.row import Family
from bnfold.frontends.onnx.told_shapes import like_first_input, like_first_output
from bnfold.refusal import Reason, Refusal
from bnfold.semantics import BiasedSum, Opaque

FAMILY = Family()

_DOMAIN = "com.microsoft"
_KEEPS_SHAPE = Traits(tell_output_shape=like_first_input, tell_input_shape=like_first_output, type_of_input=0)
_BIAS, _SKIP = 1, 2


def encode_bias(context: OnnxContext, meaning: BiasedSum) -> OnnxEdit | Refusal:
    """One number for each place of the last axis."""
    length = context.constants.require(context.required(_BIAS)).size
    bias = meaning.bias.reshape(-1)
    return edit_of(context, {_BIAS: parameter_for(context, _BIAS, bias.repeat(length) if bias.size == 1 else bias)})


@FAMILY.operator("BiasAdd", (1,), domain=_DOMAIN, encode=encode_bias, traits=_KEEPS_SHAPE)
def decode_bias_add(context: OnnxContext) -> BiasedSum:
    """BiasAdd: a tensor, a bias along its last axis, and another tensor. Source: com.microsoft BiasAdd-1."""
    return _read(context, (0, _SKIP), context.parameter(_BIAS, dynamic=Reason.DYNAMIC_BIAS))


@FAMILY.operator("BiasGelu", (1,), domain=_DOMAIN, encode=encode_bias, traits=_KEEPS_SHAPE)
@FAMILY.operator("FastGelu", (1,), domain=_DOMAIN, encode=encode_bias, traits=_KEEPS_SHAPE)
def decode_bias_gelu(context: OnnxContext) -> BiasedSum:
    """A Gelu of a tensor and a bias along its last axis, which a FastGelu need not have.

    Source: com.microsoft BiasGelu-1, FastGelu-1.
    """
    curved = Opaque(Reason.NOT_LINEAR, f"{context.node.op} is not linear")
    bias = context.constant(_BIAS) if context.node.has_input(_BIAS) else None
    if bias is None:
        raise Undecodable(curved.reason, curved.evidence)
    return _read(context, (0,), bias, curved)


def _read(context: OnnxContext, sources: Sequence[int], bias: Array, activation: Opaque | None = None) -> BiasedSum:
    rank = len(context.shape(0))
    if bias.ndim != 1 or not rank:
        raise malformed(f"{context.node.op} has a bias of shape {bias.shape} for rank {rank}")
    return BiasedSum(tuple(sources), with_leading_ones(bias, rank), rank - 1, activation)
