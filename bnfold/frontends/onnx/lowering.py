"""Conv, Mul and Add in the place of a BatchNormalization."""

from collections.abc import Mapping, Sequence

import numpy as np
import onnx
import onnx.helper

from bnfold.errors import InternalError
from bnfold.frontends.common.lowered import operand_of, weight_and_bias
from bnfold.frontends.common.parameters import NewParameter
from bnfold.frontends.onnx.constants import OnnxConstants
from bnfold.frontends.onnx.edit import OnnxEdit
from bnfold.frontends.onnx.graph import OnnxNode
from bnfold.frontends.onnx.told_types import element_type
from bnfold.refusal import Reason, Refusal
from bnfold.semantics import AffineMap, Contraction, Form, Meaning

# From this opset on, the type of scale and bias says nothing of that of the tensor. Source: ONNX BatchNormalization-15
_TYPES_OF_THEIR_OWN = 15
# What a BatchNormalization has, and the others do not. Source: ONNX BatchNormalization-7, -9, -14, -15
_OWN_ATTRIBUTES: Mapping[str, None] = dict.fromkeys(("epsilon", "momentum", "spatial", "training_mode"))


def encode_lowered(node: OnnxNode, parts: Sequence[Meaning], constants: OnnxConstants) -> OnnxEdit | Refusal:
    """The edit that makes a BatchNormalization a Conv, a Mul, an Add, or a Mul with an Add behind it.

    Returns:
        The edit; UNKNOWN_SHAPE where the type of the tensor is not known, OVERFLOW or UNDERFLOW where it cannot hold a
        constant.
    """
    dtype = _type_of_tensor(node, constants)
    if isinstance(dtype, Refusal):
        return dtype
    match parts:
        case [Contraction() as convolution]:
            return _convolution(node, convolution, dtype)
        case [AffineMap() as first, *rest]:
            return _arithmetic(node, [first, *(part for part in rest if isinstance(part, AffineMap))], dtype)
    raise InternalError(f"{node.label!r} cannot be made of {len(parts)} parts")


def _type_of_tensor(node: OnnxNode, constants: OnnxConstants) -> np.dtype[np.generic] | Refusal:
    read = node.inputs[0]
    known = onnx.TensorProto.UNDEFINED if read is None else element_type(read, constants)
    if known != onnx.TensorProto.UNDEFINED:
        return onnx.helper.tensor_dtype_to_np_dtype(known)
    if node.opset < _TYPES_OF_THEIR_OWN:
        return constants.require(node.inputs[1]).dtype
    return Refusal(Reason.UNKNOWN_SHAPE, "the type of what it reads is not known before run time")


def _convolution(node: OnnxNode, meaning: Contraction, dtype: np.dtype[np.generic]) -> OnnxEdit | Refusal:
    parameters = weight_and_bias(meaning, dtype)
    if isinstance(parameters, Refusal):
        return parameters
    weight, bias = parameters
    kernel = meaning.weight.shape[3:]
    attributes = {**_OWN_ATTRIBUTES, "group": meaning.output_channels, "kernel_shape": kernel}
    return OnnxEdit(node, {1: weight, 2: bias}, "Conv", attributes=attributes, keeps_inputs=3)


def _arithmetic(node: OnnxNode, parts: Sequence[AffineMap], dtype: np.dtype[np.generic]) -> OnnxEdit | Refusal:
    operands: list[NewParameter] = []
    for part in parts:
        operand = operand_of(part, dtype)
        if isinstance(operand, Refusal):
            return operand
        operands.append(operand)
    op_type = "Mul" if parts[0].form is Form.SCALE else "Add"
    behind = operands[1] if len(operands) > 1 else None
    return OnnxEdit(node, {1: operands[0]}, op_type, bias_behind=behind, attributes=_OWN_ATTRIBUTES, keeps_inputs=2)
