"""Types of tensors where ONNX's inference has none: operators say which of their tensors have one type."""

import onnx
import onnx.defs

from bnfold.frontends.onnx.constants import OnnxConstants
from bnfold.frontends.onnx.graph import OnnxNode, OnnxValue, canonical_domain

DOMAINS_OF_ONNX = ("", "ai.onnx.ml")
"""Those of which onnx has the schemas."""

_FLOAT_TYPES = {"tensor(float)": onnx.TensorProto.FLOAT, "tensor(double)": onnx.TensorProto.DOUBLE}


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


def told_type(node: OnnxNode, slot: int) -> int:
    """TensorProto.DataType of an output, as the operator and the types of its inputs tell it; UNDEFINED if they do not.

    Args:
        node: the node.
        slot: index of the output.
    """
    schema = _schema(node)
    if schema is not None and slot < len(schema.outputs):
        only = _FLOAT_TYPES.get(schema.outputs[slot].type_str)
        if only is not None:
            return only
    known = (value.element_type for value in _of_one_type(node, slot))
    return next((found for found in known if found != onnx.TensorProto.UNDEFINED), onnx.TensorProto.UNDEFINED)


def _of_one_type(node: OnnxNode, slot: int) -> list[OnnxValue]:
    """The inputs of a node that have the type of this output. Source: the type variables of the ONNX schemas."""
    told = node.traits.type_of_input
    if told is not None and slot == 0:
        source = node.inputs[told] if node.has_input(told) else None
        return [] if source is None else [source]
    schema = _schema(node)
    if schema is None or slot >= len(schema.outputs):
        return []
    variable = schema.outputs[slot].type_str
    if variable not in {constraint.type_param_str for constraint in schema.type_constraints}:
        return []
    return [
        value
        for value, declared in zip(node.inputs, schema.inputs, strict=False)
        if value is not None and declared.type_str == variable
    ]


def _schema(node: OnnxNode) -> onnx.defs.OpSchema | None:
    domain = canonical_domain(node.proto.domain)
    if node.calls_function or domain not in DOMAINS_OF_ONNX:
        return None
    try:
        return onnx.defs.get_schema(node.proto.op_type, node.scope.opsets.get(domain, 1), domain)
    except onnx.defs.SchemaError:
        return None
