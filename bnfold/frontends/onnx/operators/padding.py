"""Pad: what is padded is a number that can take a map, or what the tensor has at its edges."""

import numpy as np
import onnx

from bnfold.frontends.common.precision import round_parameter
from bnfold.frontends.common.undecodable import Undecodable, malformed
from bnfold.frontends.onnx.edit import OnnxEdit
from bnfold.frontends.onnx.graph import Traits
from bnfold.frontends.onnx.operators.context import OnnxContext
from bnfold.frontends.onnx.operators.parameters import edit_of, parameter_for
from bnfold.frontends.onnx.operators.row import Family
from bnfold.frontends.onnx.told_shapes import of_same_rank
from bnfold.refusal import Reason, Refusal
from bnfold.semantics import Commuting, NoShift, Padding

FAMILY = Family()

# Pads and the number are attributes before it.
_FIRST_WITH_INPUTS = 11
_FIRST_WITH_AXES = 18


def _version(context: OnnxContext) -> int:
    """That of com.microsoft is the first with inputs."""
    return context.node.opset if context.node.is_standard else _FIRST_WITH_INPUTS


def encode_pad(context: OnnxContext, meaning: Padding) -> OnnxEdit | Refusal:
    """The number is an attribute before version 11, and an input from there on."""
    if _version(context) >= _FIRST_WITH_INPUTS:
        number = np.full(context.constants.require(context.required(2)).shape, meaning.value)
        return edit_of(context, {2: parameter_for(context, 2, number)})
    value = round_parameter(np.array(meaning.value), np.dtype(np.float32))
    return value if isinstance(value, Refusal) else edit_of(context, {}, float_attributes={"value": float(value)})


@FAMILY.operator(
    "Pad",
    (1,),
    domain="com.microsoft",
    encode=encode_pad,
    traits=Traits(tell_output_shape=of_same_rank, type_of_input=0),
)
@FAMILY.operator("Pad", (2, 11, 13, 18, 19, 21, 23, 24, 25), encode=encode_pad)
def decode_pad(context: OnnxContext) -> Commuting | Padding:
    """Pad. Source: ONNX Pad-2 to -25, com.microsoft Pad-1."""
    rank, version = len(context.shape(0)), _version(context)
    pads = context.attribute("pads", None) if version < _FIRST_WITH_INPUTS else context.integers(1)
    axes = list(range(rank))
    if version >= _FIRST_WITH_AXES and context.input(3) is not None:
        axes = [axis % rank for axis in context.integers(3)]
    if pads is None or len(pads) != 2 * len(axes):
        raise malformed(f"Pad has {pads} for {len(axes)} axes")
    along = tuple(axis for place, axis in enumerate(axes) if pads[place] or pads[place + len(axes)])
    if context.attribute("mode", b"constant") != b"constant" or not along:
        return Commuting(rank, mixed_axes=along)
    value = _pad_value(context)
    if value != 0.0:
        _require_digits(context)
        return Padding(rank, along, value)
    # Runtimes put a padding with zeros into the convolution behind it: it stays one.
    return Commuting(rank, mixed_axes=along, shift_factor=NoShift("zeros are padded, and would be shifted too"))


def _require_digits(context: OnnxContext) -> None:
    """An attribute is float32: what a map makes of it must not need more."""
    is_attribute = _version(context) < _FIRST_WITH_INPUTS
    if is_attribute and context.required(0).element_type not in (onnx.TensorProto.FLOAT, onnx.TensorProto.FLOAT16):
        raise Undecodable(Reason.NOT_LINEAR, "the number that is padded is an attribute, and has the digits of float32")


def _pad_value(context: OnnxContext) -> float:
    if _version(context) < _FIRST_WITH_INPUTS:
        return float(context.attribute("value", 0.0))
    if context.input(2) is None:
        return 0.0
    value = context.parameter(2, dynamic=Reason.DYNAMIC_PARAMETER)
    return float(np.ravel(value)[0]) if value.size else 0.0
