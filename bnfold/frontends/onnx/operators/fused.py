"""Convolutions and products of com.microsoft with an activation of their own, and convolutions of channels at the end.

onnxruntime writes them into optimised files.
Source: https://github.com/microsoft/onnxruntime/blob/main/docs/ContribOperators.md
"""

from collections.abc import Sequence

import numpy as np

from bnfold.frontends.common.convolutions import (
    ZEROS_PADDED,
    convolution,
    divides,
    outputs_first,
    stored_outputs_first,
)
from bnfold.frontends.common.parameters import bias_per_channel
from bnfold.frontends.common.ramps import leaky_relu, ramp, relu
from bnfold.frontends.common.undecodable import Undecodable, malformed
from bnfold.frontends.onnx.constant_ops import AnyArray
from bnfold.frontends.onnx.edit import OnnxEdit
from bnfold.frontends.onnx.graph import OnnxNode, Shape, Traits
from bnfold.frontends.onnx.operators.context import OnnxContext
from bnfold.frontends.onnx.operators.convolutions import encode_contraction, pads, read_conv, stored_convolution
from bnfold.frontends.onnx.operators.parameters import bias_for, edit_of, weight_for
from bnfold.frontends.onnx.operators.products import encode_gemm, read_gemm
from bnfold.frontends.onnx.operators.row import Encode, Family
from bnfold.frontends.onnx.told_shapes import convolved, multiplied, to_be_convolved, to_be_multiplied
from bnfold.refusal import Reason, Refusal
from bnfold.semantics import Commuting, Contraction, FusedContraction, Opaque
from bnfold.weight import Weight

FAMILY = Family()

_DOMAIN = "com.microsoft"
_ADDEND = 3
# What fuses with a product in onnxruntime beside Relu and LeakyRelu.
_NOT_LINEAR = ("Tanh", "Sigmoid", "Clip", "HardSigmoid", "Elu", "Selu", "Softplus", "Softsign", "ThresholdedRelu")


def _fused(encode: Encode) -> Encode:
    """The encoder of an operator for what it is with an activation: only its weight and bias change."""

    def encode_fused(context: OnnxContext, meaning: FusedContraction) -> OnnxEdit | Refusal:
        edit = encode(context, meaning.contraction)
        if not isinstance(edit, Refusal) and edit.bias_behind is not None and not meaning.absorbs_output:
            return Refusal(Reason.NO_BIAS, f"an addition behind {context.node.op} would come behind its activation")
        return edit

    return encode_fused


@FAMILY.operator(
    "FusedConv",
    (1,),
    domain=_DOMAIN,
    encode=_fused(encode_contraction),
    traits=Traits(tell_output_shape=convolved, tell_input_shape=to_be_convolved, type_of_input=0),
)
def decode_fused_conv(context: OnnxContext) -> FusedContraction:
    """FusedConv: f(Conv(x, w, b) + z), with b, z and f optional. Source: com.microsoft FusedConv-1."""
    contraction = read_conv(context)
    return FusedContraction(contraction, _activation_of_conv(context, contraction.output_rank), _addend(context))


@FAMILY.operator(
    "FusedGemm",
    (1,),
    domain=_DOMAIN,
    encode=_fused(encode_gemm),
    traits=Traits(tell_output_shape=multiplied, tell_input_shape=to_be_multiplied, type_of_input=0),
)
def decode_fused_gemm(context: OnnxContext) -> FusedContraction:
    """FusedGemm: f(Gemm(a, b, c)). Source: com.microsoft FusedGemm-1."""
    contraction = read_gemm(context)
    slope = context.attribute("activation_alpha", None)
    return FusedContraction(
        contraction, _activation(context, contraction.output_rank, [] if slope is None else [slope])
    )


def _convolved_at_the_end(node: OnnxNode) -> Shape | None:
    weight = node.inputs[1].shape if node.has_input(1) and node.inputs[1] is not None else None
    return None if weight is None else (*(None,) * (len(weight) - 1), weight[0])


_AT_THE_END = Traits(tell_output_shape=_convolved_at_the_end, tell_input_shape=to_be_convolved, type_of_input=0)


@FAMILY.operator("NhwcFusedConv", (1,), domain=_DOMAIN, encode=_fused(encode_contraction), traits=_AT_THE_END)
def decode_nhwc_fused_conv(context: OnnxContext) -> FusedContraction:
    """NhwcFusedConv: as FusedConv, with the channels of x, y and z on the last axis, and the weight of a Conv.

    Source: com.microsoft NhwcFusedConv-1.
    """
    stored, groups = stored_convolution(context)
    weight = Weight(outputs_first(stored, groups))
    bias = context.optional_parameter(2, dynamic=Reason.DYNAMIC_BIAS)
    no_shift = ZEROS_PADDED if pads(context, weight) else None
    contraction = convolution(weight, bias, stored.ndim, stored.ndim - 1, no_shift)
    return FusedContraction(contraction, _activation_of_conv(context, stored.ndim), _addend(context))


def encode_nhwc_conv(context: OnnxContext, meaning: Contraction) -> OnnxEdit | Refusal:
    """In the order in which the weight is stored."""
    place = _inputs_of_kernel(context, context.weight(1))

    def layout(weight: AnyArray) -> AnyArray:
        return np.moveaxis(stored_outputs_first(weight), 1, place)

    vector = None if meaning.bias is None else bias_per_channel(meaning)
    return edit_of(context, {1: weight_for(context, meaning, layout), 2: bias_for(context, vector)})


@FAMILY.operator("NhwcConv", (1,), domain=_DOMAIN, encode=encode_nhwc_conv, traits=_AT_THE_END)
def decode_nhwc_conv(context: OnnxContext) -> Contraction:
    """NhwcConv: a Conv with the channels of x and y on the last axis.

    Its weight is (M, C / group, *kernel) as published; onnxruntime's kernels, and those who read its files, take
    (M, *kernel, C / group). It is read where the node and what it reads leave one of the two alone.

    Source: com.microsoft NhwcConv-1.
    """
    stored = context.weight(1)
    place = _inputs_of_kernel(context, stored)
    groups = context.attribute("group", 1)
    if not divides(stored, groups):
        raise malformed(f"NhwcConv has a weight of shape {stored.shape} and group {groups}")
    weight = Weight(outputs_first(np.moveaxis(stored, place, 1), groups))
    bias = context.optional_parameter(2, dynamic=Reason.DYNAMIC_BIAS)
    no_shift = ZEROS_PADDED if pads(context, weight) else None
    return convolution(weight, bias, stored.ndim, stored.ndim - 1, no_shift)


def _inputs_of_kernel(context: OnnxContext, stored: AnyArray) -> int:
    """The axis of the weight of an NhwcConv that counts its inputs: that of which the node could not run otherwise."""
    kernel, channels = context.attribute("kernel_shape", None), context.shape(0)[-1]
    last = stored.ndim - 1
    possible = [
        axis
        for axis in (1, last)
        if (kernel is None or tuple(kernel) == tuple(np.delete(stored.shape, [0, axis])))
        and (not isinstance(channels, int) or channels == stored.shape[axis] * context.attribute("group", 1))
    ]
    if len(possible) != 1 or last < 2:
        raise Undecodable(
            Reason.NOT_LINEAR,
            "NhwcConv has a weight with the channels in front of the kernel as published, and behind it as run: "
            "neither its kernel_shape nor what it reads says which",
        )
    return possible[0]


def _addend(context: OnnxContext) -> int | None:
    return None if context.input(_ADDEND) is None else _ADDEND


def _activation_of_conv(context: OnnxContext, rank: int) -> Commuting | Opaque | None:
    return _activation(context, rank, context.attribute("activation_params", None) or [])


def _activation(context: OnnxContext, rank: int, numbers: Sequence[float]) -> Commuting | Opaque | None:
    """The activation that a node names, with the numbers that it gives for it."""
    name = context.attribute("activation", b"").decode()
    if not name:
        return None
    if name in _NOT_LINEAR:
        return Opaque(Reason.NOT_LINEAR, f"the {name} in {context.node.op} is not linear")
    functions = {"Relu": relu, "LeakyRelu": leaky_relu(numbers[0] if numbers else 0.01)}
    if name not in functions:
        return Opaque(Reason.UNKNOWN_OPERATOR, f"the activation {name!r} in {context.node.op} has no rule")
    return ramp(rank, f"the {name} in {context.node.op}", functions[name])
