"""Conv, ConvTranspose and DeformConv, read as contractions with one layout of the weight."""

from onnx import TensorProto
from onnx.helper import tensor_dtype_to_np_dtype

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
from bnfold.frontends.common.parameters import Layout, bias_per_channel, new_parameter
from bnfold.frontends.common.undecodable import Undecodable, malformed
from bnfold.frontends.onnx.constant_ops import AnyArray
from bnfold.frontends.onnx.edit import OnnxEdit
from bnfold.frontends.onnx.graph import OnnxValue, Traits
from bnfold.frontends.onnx.operators.context import OnnxContext
from bnfold.frontends.onnx.operators.parameters import bias_for, edit_of, parameter_for, weight_for
from bnfold.frontends.onnx.operators.row import Encode, Family
from bnfold.frontends.onnx.operators.windows import read_window
from bnfold.frontends.onnx.told_shapes import convolved, to_be_convolved, transpose_convolved
from bnfold.refusal import Reason, Refusal
from bnfold.semantics import Contraction, NoShift, RuntimeConvolution
from bnfold.weight import Weight
from bnfold.window import Window

FAMILY = Family()

_BIAS = 2
# Between what modulates a weight and the convolution there are a Reshape and a Transpose, if anything.
_LONGEST_CHAIN = 10
_ZEROS_BESIDE = NoShift("places beside the image count as zeros")


def encode_convolution(layout: Layout, *, bias_slot: int = 2) -> Encode:
    """The encoder of a convolution that stores its weight in this layout, and its bias (outputs,) at this input."""

    def encode(context: OnnxContext, meaning: Contraction) -> OnnxEdit | Refusal:
        vector = None if meaning.bias is None else bias_per_channel(meaning)
        bias = bias_for(context, vector, slot=bias_slot)
        return edit_of(context, {1: weight_for(context, meaning, layout), bias_slot: bias})

    return encode


encode_contraction = encode_convolution(stored_outputs_first)


def encode_conv(context: OnnxContext, meaning: Contraction | RuntimeConvolution) -> OnnxEdit | Refusal:
    """As a contraction, or the bias alone."""
    if isinstance(meaning, Contraction):
        return encode_contraction(context, meaning)
    if meaning.bias is None:
        return edit_of(context, {})
    if context.node.has_input(_BIAS):
        return edit_of(context, {_BIAS: parameter_for(context, _BIAS, meaning.bias)})
    dtype = tensor_dtype_to_np_dtype(context.required(0).element_type)
    return edit_of(context, {_BIAS: new_parameter(meaning.bias, dtype)})


@FAMILY.operator(
    "Conv",
    (1, 11, 22),
    encode=encode_conv,
    traits=Traits(tell_output_shape=convolved, tell_input_shape=to_be_convolved),
)
def decode_conv(context: OnnxContext) -> Contraction | RuntimeConvolution:
    """Conv with a weight of the file, or one that is computed at run time. Source: ONNX Conv-1, -11, -22."""
    try:
        return read_conv(context)
    except Undecodable as stop:
        if stop.opaque.reason is not Reason.DYNAMIC_WEIGHT:
            raise
        meaning = _runtime_convolution(context, stop.opaque.evidence)
        if meaning is None:
            raise
        return meaning


def _runtime_convolution(context: OnnxContext, why: str) -> RuntimeConvolution | None:
    """A Conv whose weight is computed; None where too little is known of it."""
    weight, element_type = context.required(1), context.required(0).element_type
    if weight.shape is None or len(weight.shape) < 3 or element_type == TensorProto.UNDEFINED:
        return None
    bias = context.optional_parameter(_BIAS, dynamic=Reason.DYNAMIC_BIAS)
    channels = weight.shape[0] if bias is None else bias.size
    known = channels if isinstance(channels, int) else None
    return RuntimeConvolution(bias, known, len(weight.shape), 1 if _is_multiplied(weight) else None, why)


def _is_multiplied(value: OnnxValue) -> bool:
    """Whether a tensor comes out of a multiplication, with each number of it made of one of its result."""
    for _ in range(_LONGEST_CHAIN):
        node = value.producer
        if node is None or not node.traits.per_number or node.inputs[0] is None:
            return False
        if node.traits.multiplies:
            return not node.is_batch_norm  # whose channels are on another axis
        value = node.inputs[0]
    return False


def read_conv(context: OnnxContext) -> Contraction:
    """Conv: weight (M, C / group, *kernel), bias (M,)."""
    weight = context.folded_weight(1) or Weight(outputs_first(*stored_convolution(context)))
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
    weight = context.folded_weight(1) or Weight(inputs_first(*stored_convolution(context)))
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
