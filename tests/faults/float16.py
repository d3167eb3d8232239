"""A float32 model as float16: every stored number, every input and output, every declared type."""

from collections.abc import Iterator

import numpy as np
import onnx
from onnx import TensorProto, numpy_helper


def to_float16(model: onnx.ModelProto) -> onnx.ModelProto:
    """A copy in float16. Numbers beyond its range become the largest that it has."""
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    for graph in _graphs(copy.graph):
        for tensor in graph.initializer:
            _convert(tensor)
        for entry in (*graph.input, *graph.output, *graph.value_info):
            if entry.type.tensor_type.elem_type == TensorProto.FLOAT:
                entry.type.tensor_type.elem_type = TensorProto.FLOAT16
        for node in graph.node:
            _convert_attributes(node)
    return copy


def _convert_attributes(node: onnx.NodeProto) -> None:
    for entry in node.attribute:
        if entry.type == onnx.AttributeProto.TENSOR:
            _convert(entry.t)
        elif node.op_type == "Cast" and entry.name == "to" and entry.i == TensorProto.FLOAT:
            entry.i = TensorProto.FLOAT16
        elif node.op_type == "Constant" and entry.name in ("value_float", "value_floats"):
            values = np.float32(entry.f) if entry.name == "value_float" else np.array(entry.floats, np.float32)
            tensor = numpy_helper.from_array(np.asarray(values))
            _convert(tensor)
            entry.CopyFrom(onnx.helper.make_attribute("value", tensor))


def _convert(tensor: TensorProto) -> None:
    if tensor.data_type != TensorProto.FLOAT:
        return
    limit = float(np.finfo(np.float16).max)
    values = np.clip(numpy_helper.to_array(tensor), -limit, limit).astype(np.float16)
    tensor.CopyFrom(numpy_helper.from_array(values, tensor.name))


def _graphs(graph: onnx.GraphProto) -> Iterator[onnx.GraphProto]:
    yield graph
    for node in graph.node:
        for entry in node.attribute:
            if entry.type == onnx.AttributeProto.GRAPH:
                yield from _graphs(entry.g)
