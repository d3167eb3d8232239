"""Conv, ConvTranspose and DeformConv, read as contractions with one layout of the weight."""

from bnfold.frontends.common.convolutions import (
    PLACES_DIFFER,
    ZEROS_PADDED,
    convolution,
    divides,
    has_one_place,
    inputs_first,
    outputs_first,
    stored_inputs_first,
    stored_outputs_first,
)
from bnfold.frontends.common.parameters import Layout, bias_per_channel
from bnfold.frontends.common.undecodable import malformed
from bnfold.frontends.onnx.constant_ops import AnyArray
from bnfold.frontends.onnx.edit import OnnxEdit
from bnfold.frontends.onnx.graph import Traits
from bnfold.frontends.onnx.operators.context import OnnxContext
from bnfold.frontends.onnx.operators.parameters import bias_for, edit_of, weight_for
from bnfold.frontends.onnx.operators.row import Encode, Family
from bnfold.frontends.onnx.operators.windows import read_window
from bnfold.frontends.onnx.told_shapes import convolved, to_be_convolved, transpose_convolved
from bnfold.refusal import Reason, Refusal
from bnfold.semantics import Contraction, NoShift
from bnfold.window import Window

FAMILY = Family()

_ZEROS_BESIDE = NoShift("places beside the image count as zeros")


def encode_convolution(layout: Layout, *, bias_slot: int = 2) -> Encode:
    """The encoder of a convolution that stores its weight in this layout, and its bias (outputs,) at this input."""

    def encode(context: OnnxContext, meaning: Contraction) -> OnnxEdit | Refusal:
        vector = None if meaning.bias is None else bias_per_channel(meaning)
        bias = bias_for(context, vector, slot=bias_slot)
        return edit_of(context, {1: weight_for(context, meaning, layout), bias_slot: bias})

    return encode


encode_conv = encode_convolution(stored_outputs_first)


@FAMILY.operator(
    "Conv",
    (1, 11, 22),
    encode=encode_conv,
    traits=Traits(tell_output_shape=convolved, tell_input_shape=to_be_convolved),
)
def decode_conv(context: OnnxContext) -> Contraction:
    """Conv: weight (M, C / group, *kernel), bias (M,). Source: ONNX Conv-1, -11, -22."""
    weight = outputs_first(*stored_convolution(context))
    window = read_window(context.node, weight.shape[3:])
    return _convolution(context, weight, ZEROS_PADDED if pads(context, weight) else None, window)


@FAMILY.operator(
    "ConvTranspose",
    (1, 11, 22),
    encode=encode_convolution(stored_inputs_first),
    traits=Traits(tell_output_shape=transpose_convolved, tell_input_shape=to_be_convolved),
)
def decode_conv_transpose(context: OnnxContext) -> Contraction:
    """ConvTranspose: weight (C, M / group, *kernel), bias (M,). Source: ONNX ConvTranspose-1, -11, -22."""
    weight = inputs_first(*stored_convolution(context))
    one_place = has_one_place(weight) and not _spreads(context)
    return _convolution(context, weight, None if one_place else PLACES_DIFFER)


def stored_convolution(context: OnnxContext) -> tuple[AnyArray, int]:
    """The weight of a convolution as the file has it, and its groups."""
    stored = context.weight(1)
    groups = context.attribute("group", 1)
    if not divides(stored, groups):
        raise malformed(f"{context.node.proto.op_type} has a weight of shape {stored.shape} and group {groups}")
    return stored, groups


def pads(context: OnnxContext, weight: AnyArray) -> bool:
    """Whether a convolution with this weight, in the layout of a contraction, pads its input."""
    automatic = context.attribute("auto_pad", b"NOTSET")
    return any(context.attribute("pads", None) or ()) or (automatic.startswith(b"SAME") and weight[0, 0, 0].size > 1)


def _spreads(context: OnnxContext) -> bool:
    """Whether a transposed kernel of one place still leaves places of the output without input."""
    strides = context.attribute("strides", None) or ()
    widened = any(context.attribute(name, None) for name in ("output_padding", "output_shape", "pads"))
    return any(stride > 1 for stride in strides) or widened or context.attribute("auto_pad", b"NOTSET") != b"NOTSET"


def _convolution(
    context: OnnxContext, weight: AnyArray, no_shift: NoShift | None, window: Window | None = None
) -> Contraction:
    bias = context.optional_parameter(2, dynamic=Reason.DYNAMIC_BIAS)
    return convolution(weight, bias, weight.ndim - 1, 1, no_shift, window)


@FAMILY.operator("DeformConv", (19, 22), encode=encode_convolution(stored_outputs_first, bias_slot=3))
def decode_deform_conv(context: OnnxContext) -> Contraction:
    """DeformConv: a Conv that reads x between places. Beside x it reads offsets and a mask, which take no map.

    Source: ONNX DeformConv-19, -22.
    """
    stored, groups = stored_convolution(context)
    bias = context.optional_parameter(3, dynamic=Reason.DYNAMIC_BIAS)
    return convolution(outputs_first(stored, groups), bias, stored.ndim, 1, _ZEROS_BESIDE)
