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
from bnfold.frontends.common.undecodable import Undecodable, malformed
from bnfold.frontends.onnx.constant_ops import AnyArray
from bnfold.frontends.onnx.edit import OnnxEdit
from bnfold.frontends.onnx.graph import Traits
from bnfold.frontends.onnx.operators.context import OnnxContext
from bnfold.frontends.onnx.operators.parameters import bias_for, edit_of, weight_for
from bnfold.frontends.onnx.operators.row import Encode, Family
from bnfold.frontends.onnx.operators.runtime_weights import encode_runtime_weight, is_of_run_time, read_runtime_weight
from bnfold.frontends.onnx.operators.windows import read_window
from bnfold.frontends.onnx.told_shapes import convolved, to_be_convolved, transpose_convolved
from bnfold.refusal import Reason, Refusal
from bnfold.semantics import Contraction, NoShift, RuntimeContraction
from bnfold.weight import Weight
from bnfold.window import Window

FAMILY = Family()

_BIAS = 2
_ZEROS_BESIDE = NoShift("places beside the image count as zeros")


def encode_convolution(layout: Layout, *, bias_slot: int = 2) -> Encode:
    """The encoder of a convolution that stores its weight in this layout, and its bias (outputs,) at this input."""

    def encode(context: OnnxContext, meaning: Contraction) -> OnnxEdit | Refusal:
        vector = None if meaning.bias is None else bias_per_channel(meaning)
        bias = bias_for(context, vector, slot=bias_slot)
        return edit_of(context, {1: weight_for(context, meaning, layout), bias_slot: bias})

    return encode


encode_contraction = encode_convolution(stored_outputs_first)


def _with_runtime_weight(layout: Layout) -> Encode:
    """The encoder of a convolution with a weight in this layout, or with one of the run time: then its bias alone."""
    encode_stored = encode_convolution(layout)

    def encode(context: OnnxContext, meaning: Contraction | RuntimeContraction) -> OnnxEdit | Refusal:
        if isinstance(meaning, RuntimeContraction):
            return encode_runtime_weight(context, meaning)
        return encode_stored(context, meaning)

    return encode


@FAMILY.operator(
    "Conv",
    (1, 11, 22),
    encode=_with_runtime_weight(stored_outputs_first),
    traits=Traits(tell_output_shape=convolved, tell_input_shape=to_be_convolved),
)
def decode_conv(context: OnnxContext) -> Contraction | RuntimeContraction:
    """Conv with a weight of the file, or one that is computed at run time. Source: ONNX Conv-1, -11, -22."""
    try:
        return read_conv(context)
    except Undecodable as stop:
        return _of_runtime_weight(context, stop, 0, 1)


def _of_runtime_weight(context: OnnxContext, stop: Undecodable, axis: int, groups: int) -> RuntimeContraction:
    weight = context.required(1).shape
    if weight is not None and len(weight) < 3:
        raise stop
    bias = context.optional_parameter(_BIAS, dynamic=Reason.DYNAMIC_BIAS) if is_of_run_time(stop) else None
    return read_runtime_weight(context, stop, bias=bias, weight_axis=axis, groups=groups)


def read_conv(context: OnnxContext) -> Contraction:
    """Conv: weight (M, C / group, *kernel), bias (M,)."""
    weight = context.folded_weight(1) or Weight(outputs_first(*stored_convolution(context)))
    window = read_window(context.node, weight.shape[3:])
    return _convolution(context, weight, ZEROS_PADDED if pads(context, weight) else None, window)


@FAMILY.operator(
    "ConvTranspose",
    (1, 11, 22),
    encode=_with_runtime_weight(stored_inputs_first),
    traits=Traits(tell_output_shape=transpose_convolved, tell_input_shape=to_be_convolved),
)
def decode_conv_transpose(context: OnnxContext) -> Contraction | RuntimeContraction:
    """ConvTranspose: weight (C, M / group, *kernel), of the file or not, bias (M,).

    Source: ONNX ConvTranspose-1, -11, -22.
    """
    try:
        weight = context.folded_weight(1) or Weight(inputs_first(*stored_convolution(context)))
    except Undecodable as stop:
        return _of_runtime_weight(context, stop, 1, context.attribute("group", 1))
    one_place = has_one_place(weight) and not _spreads(context)
    return _convolution(context, weight, None if one_place else PLACES_DIFFER)


@FAMILY.operator(
    "ConvTransposeWithDynamicPads",
    (1,),
    domain="com.microsoft",
    encode=encode_convolution(stored_inputs_first, bias_slot=3),
    traits=Traits(tell_output_shape=transpose_convolved, tell_input_shape=to_be_convolved, type_of_input=0),
)
def decode_conv_transpose_with_dynamic_pads(context: OnnxContext) -> Contraction:
    """ConvTransposeWithDynamicPads: as ConvTranspose, with its padding at input 2 and its bias at input 3.

    Source: com.microsoft ConvTransposeWithDynamicPads-1.
    """
    weight = context.folded_weight(1) or Weight(inputs_first(*stored_convolution(context)))
    bias = context.optional_parameter(3, dynamic=Reason.DYNAMIC_BIAS)
    return convolution(weight, bias, weight.ndim - 1, 1, PLACES_DIFFER)


def stored_convolution(context: OnnxContext) -> tuple[AnyArray, int]:
    """The weight of a convolution as the file has it, and its groups."""
    stored = context.weight(1)
    groups = context.attribute("group", 1)
    if not divides(stored, groups):
        raise malformed(f"{context.node.proto.op_type} has a weight of shape {stored.shape} and group {groups}")
    return stored, groups


def pads(context: OnnxContext, weight: Weight) -> bool:
    """Whether a convolution with this weight, in the layout of a contraction, pads its input."""
    automatic = context.attribute("auto_pad", b"NOTSET")
    return any(context.attribute("pads", None) or ()) or (automatic.startswith(b"SAME") and not has_one_place(weight))


def _spreads(context: OnnxContext) -> bool:
    """Whether a transposed kernel of one place still leaves places of the output without input."""
    strides = context.attribute("strides", None) or ()
    widened = any(context.attribute(name, None) for name in ("output_padding", "output_shape", "pads"))
    return any(stride > 1 for stride in strides) or widened or context.attribute("auto_pad", b"NOTSET") != b"NOTSET"


def _convolution(
    context: OnnxContext, weight: Weight, no_shift: NoShift | None, window: Window | None = None
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
    return convolution(Weight(outputs_first(stored, groups)), bias, stored.ndim, 1, _ZEROS_BESIDE)
