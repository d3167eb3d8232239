"""The precision that a model computes in, read from its file."""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import ml_dtypes
import numpy as np

from bnfold.verifier.models.load import Model

if TYPE_CHECKING:
    from onnx import GraphProto, ModelProto, NodeProto

# By TensorProto.DataType, the coarsest first.
_FLOATS: dict[int, "np.dtype[Any]"] = {
    16: np.dtype(ml_dtypes.bfloat16),
    10: np.dtype(np.float16),
    1: np.dtype(np.float32),
    11: np.dtype(np.float64),
}


def coarsest_float(model: Model) -> "np.dtype[Any]":
    """The coarsest floating point dtype among the weights, constants and casts; float32 if there is none.

    A float16 network often has float32 inputs and outputs: its ports do not tell.
    """
    found = _types_in_model(model.proto)
    return next((dtype for element, dtype in _FLOATS.items() if element in found), np.dtype(np.float32))


def _types_in_model(model: "ModelProto") -> set[int]:
    """Every TensorProto.DataType in the graph, its bodies and the functions."""
    return _types_in_graph(model.graph).union(*(_types_in_nodes(function.node) for function in model.functions))


def _types_in_graph(graph: "GraphProto") -> set[int]:
    return {tensor.data_type for tensor in graph.initializer} | _types_in_nodes(graph.node)


def _types_in_nodes(nodes: Iterable["NodeProto"]) -> set[int]:
    found: set[int] = set()
    for node in nodes:
        for attribute in node.attribute:
            if attribute.name == "to" and node.op_type == "Cast":
                found.add(attribute.i)
            if attribute.HasField("t"):
                found.add(attribute.t.data_type)
            if attribute.HasField("g"):
                found |= _types_in_graph(attribute.g)
    return found
