"""Types of tensors where ONNX's inference has none: operators say which of their tensors have one type."""

import onnx
import onnx.defs

from bnfold.frontends.onnx.constants import OnnxConstants
from bnfold.frontends.onnx.graph import OnnxNode, OnnxValue


def element_type(value: OnnxValue, constants: OnnxConstants) -> int:
    """TensorProto.DataType of a tensor; UNDEFINED where neither inference nor the operators before it tell it."""
    seen: set[OnnxValue] = set()
    waiting = [value]
    while waiting:
        tensor = waiting.pop()
        if tensor in seen:
            continue
        seen.add(tensor)
        if tensor.element_type != onnx.TensorProto.UNDEFINED:
            return tensor.element_type
        if constants.is_fixed(tensor):
            return onnx.helper.np_dtype_to_tensor_dtype(constants.require(tensor).dtype)
        if tensor.producer is not None:
            waiting += _of_one_type(tensor.producer, tensor.producer.outputs.index(tensor))
    return onnx.TensorProto.UNDEFINED


def _of_one_type(node: OnnxNode, slot: int) -> list[OnnxValue]:
    """The inputs of a node that have the type of this output. Source: the type variables of the ONNX schemas."""
    if not node.is_standard:
        return []
    try:
        schema = onnx.defs.get_schema(node.proto.op_type, node.opset, "")
    except onnx.defs.SchemaError:
        return []
    if slot >= len(schema.outputs):
        return []
    variable = schema.outputs[slot].type_str
    if variable not in {constraint.type_param_str for constraint in schema.type_constraints}:
        return []
    return [
        value
        for value, declared in zip(node.inputs, schema.inputs, strict=False)
        if value is not None and declared.type_str == variable
    ]
