"""Pad: what is padded is a number that can take a map, or what the tensor has at its edges."""

import numpy as np
import onnx

from bnfold.frontends.common.precision import round_parameter
from bnfold.frontends.common.undecodable import Undecodable, malformed
from bnfold.frontends.onnx.attributes import attribute
from bnfold.frontends.onnx.edit import OnnxEdit
from bnfold.frontends.onnx.operators.context import OnnxContext
from bnfold.frontends.onnx.operators.parameters import edit_of, parameter_for
from bnfold.frontends.onnx.operators.row import Family
from bnfold.refusal import Reason, Refusal
from bnfold.semantics import Commuting, NoShift, Padding

FAMILY = Family()

# Pads and the number are attributes before it.
_FIRST_WITH_INPUTS = 11
_FIRST_WITH_AXES = 18


def encode_pad(context: OnnxContext, meaning: Padding) -> OnnxEdit | Refusal:
    """The number is an attribute before version 11, and an input from there on."""
    if context.node.opset >= _FIRST_WITH_INPUTS:
        number = np.full(context.constants.require(context.required(2)).shape, meaning.value)
        return edit_of(context, {2: parameter_for(context, 2, number)})
    value = round_parameter(np.array(meaning.value), np.dtype(np.float32))
    return value if isinstance(value, Refusal) else edit_of(context, {}, float_attributes={"value": float(value)})


@FAMILY.operator("Pad", (2, 11, 13, 18, 19, 21, 23, 24, 25), encode=encode_pad)
def decode_pad(context: OnnxContext) -> Commuting | Padding:
    """Pad. Source: ONNX Pad-2 to -25."""
    node = context.node
    rank = len(context.shape(0))
    pads = attribute(node, "pads", None) if node.opset < _FIRST_WITH_INPUTS else context.integers(1)
    axes = list(range(rank))
    if node.opset >= _FIRST_WITH_AXES and context.input(3) is not None:
        axes = [axis % rank for axis in context.integers(3)]
    if pads is None or len(pads) != 2 * len(axes):
        raise malformed(f"Pad has {pads} for {len(axes)} axes")
    padded = tuple(axis for place, axis in enumerate(axes) if pads[place] or pads[place + len(axes)])
    if attribute(node, "mode", b"constant") != b"constant" or not padded:
        return Commuting(rank, mixed_axes=padded)
    value = _pad_value(context)
    if value != 0.0:
        _require_digits(context)
        return Padding(rank, padded, value)
    # Runtimes put a padding with zeros into the convolution behind it: it stays one.
    return Commuting(rank, mixed_axes=padded, shift_factor=NoShift("zeros are padded, and would be shifted too"))


def _require_digits(context: OnnxContext) -> None:
    """An attribute is float32: what a map makes of it must not need more."""
    is_attribute = context.node.opset < _FIRST_WITH_INPUTS
    if is_attribute and context.required(0).element_type not in (onnx.TensorProto.FLOAT, onnx.TensorProto.FLOAT16):
        raise Undecodable(Reason.NOT_LINEAR, "the number that is padded is an attribute, and has the digits of float32")


def _pad_value(context: OnnxContext) -> float:
    if context.node.opset < _FIRST_WITH_INPUTS:
        return float(context.attribute("value", 0.0))
    if context.input(2) is None:
        return 0.0
    value = context.parameter(2, dynamic=Reason.DYNAMIC_PARAMETER)
    return float(np.ravel(value)[0]) if value.size else 0.0
