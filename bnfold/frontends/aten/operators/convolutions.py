"""Convolutions, read as contractions with one layout of the weight, and written back in their own."""

from bnfold.affine import Array
from bnfold.frontends.aten.edit import AtenEdit
from bnfold.frontends.aten.operators.accepted_shapes import (
    Takes,
    accepted_by_convolution,
    accepted_by_either_convolution,
    accepted_by_transposed_convolution,
)
from bnfold.frontends.aten.operators.call import AtenCall
from bnfold.frontends.aten.operators.family import AtenFamily
from bnfold.frontends.aten.operators.parameters import encode_with_bias
from bnfold.frontends.aten.operators.row import Keeps
from bnfold.frontends.aten.operators.runtime_weights import encode_runtime_weight, read_runtime_weight
from bnfold.frontends.aten.operators.windows import read_window
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
from bnfold.frontends.common.undecodable import malformed
from bnfold.refusal import Reason, Refusal
from bnfold.semantics import Contraction, NoShift, RuntimeContraction
from bnfold.weight import Weight
from bnfold.window import Window

FAMILY = AtenFamily()
_RANK_AND_TYPE = Keeps.RANK | Keeps.TYPE


_encode_stored = encode_with_bias(stored_outputs_first)
encode_conv_transpose = encode_with_bias(stored_inputs_first)


def encode_conv(call: AtenCall, meaning: Contraction | RuntimeContraction) -> AtenEdit | Refusal:
    """Weight and bias; of a weight of the run time, the bias alone."""
    if isinstance(meaning, RuntimeContraction):
        return encode_runtime_weight(call, meaning)
    return _encode_stored(call, meaning)


def encode_convolution(call: AtenCall, meaning: Contraction | RuntimeContraction) -> AtenEdit | Refusal:
    """Operators convolution and _convolution: both directions in one operator."""
    if isinstance(meaning, Contraction) and call.fixed("transposed"):
        return encode_conv_transpose(call, meaning)
    return encode_conv(call, meaning)


@FAMILY.operator(
    "conv1d",
    "conv2d",
    "conv3d",
    encode=encode_conv,
    converts_in_autocast=True,
    keeps=_RANK_AND_TYPE,
    takes=Takes("input", "weight", accepted_by_convolution),
)
def decode_conv(call: AtenCall) -> Contraction | RuntimeContraction:
    """conv1d, conv2d, conv3d, with or without a batch axis. Source: torch.nn.functional.conv2d."""
    if not call.is_constant(call.value("weight")):
        weight_rank = len(call.shape("weight"))
        return read_runtime_weight(call, len(call.shape("input")) - weight_rank + 1)
    padding = call.fixed("padding")
    pads = padding == "same" or (not isinstance(padding, str) and any(padding))
    weight = Weight(outputs_first(*_stored(call)))
    pads = pads and not (padding == "same" and has_one_place(weight))
    return _convolution(call, weight, ZEROS_PADDED if pads else None, read_window(call, weight.shape[3:]))


@FAMILY.operator(
    "conv_transpose1d",
    "conv_transpose2d",
    "conv_transpose3d",
    encode=encode_conv_transpose,
    converts_in_autocast=True,
    keeps=_RANK_AND_TYPE,
    takes=Takes("input", "weight", accepted_by_transposed_convolution),
)
def decode_conv_transpose(call: AtenCall) -> Contraction:
    """conv_transpose1d, 2d, 3d: the weight is (inputs, outputs / groups, *kernel).

    Source: torch.nn.functional.conv_transpose2d
    """
    weight = Weight(inputs_first(*_stored(call)))
    spreads = any(step > 1 for step in call.fixed("stride")) or any(
        any(call.fixed(name)) for name in ("padding", "output_padding")
    )
    one_place = has_one_place(weight) and not spreads
    return _convolution(call, weight, None if one_place else PLACES_DIFFER)


@FAMILY.operator(
    "convolution",
    "_convolution",
    encode=encode_convolution,
    converts_in_autocast=True,
    keeps=_RANK_AND_TYPE,
    takes=Takes("input", "weight", accepted_by_either_convolution),
)
def decode_convolution(call: AtenCall) -> Contraction | RuntimeContraction:
    """Operators convolution and _convolution: both directions in one operator. Source: native_functions.yaml."""
    return decode_conv_transpose(call) if call.fixed("transposed") else decode_conv(call)


def _stored(call: AtenCall) -> tuple[Array, int]:
    weight, groups = call.parameter("weight", dynamic=Reason.DYNAMIC_WEIGHT), int(call.fixed("groups"))
    if not divides(weight, groups):
        raise malformed(f"{call.node.op} has a weight of shape {weight.shape} and {groups} groups")
    return weight, groups


def _convolution(call: AtenCall, weight: Weight, no_shift: NoShift | None, window: Window | None = None) -> Contraction:
    rank, spatial = len(call.shape("input")), weight.ndim - 3
    if rank not in (spatial + 1, spatial + 2):
        raise malformed(f"{call.node.op} with {spatial} spatial axes has an input of rank {rank}")
    bias = call.optional_parameter("bias", dynamic=Reason.DYNAMIC_BIAS)
    return convolution(weight, bias, rank, rank - spatial - 1, no_shift, window)
