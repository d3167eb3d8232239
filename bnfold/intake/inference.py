"""ONNX's shape inference, kept from taking all memory.

With data propagation, it keeps an entry for every number of a one-dimensional tensor whose length it knows, even if the
length is 2^43 (onnx, shape_inference/implementation.h, `getInputData`). For files where that could happen, data
propagation is off.
"""

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

import numpy as np

from bnfold.intake.walk import bodies

if TYPE_CHECKING:
    from onnx import GraphProto, ModelProto, NodeProto, TensorProto

_LONGEST = 2**20
"""Numbers. Shapes, axes and bounds are far shorter."""
# Bounds of a Slice that mean "to the end".
_TO_THE_END = (2**31 - 1, 2**63 - 1)
_LARGEST_SHAPE_TENSOR = 1024
_PROPAGATE = frozenset("Add Cast Concat Gather Identity Mul Reshape Slice Squeeze Sub Unsqueeze".split())  # noqa: SIM905


def infer_shapes(model: "ModelProto") -> "ModelProto":
    """The model with the shapes and types that ONNX infers, as `value_info`.

    Raises:
        Exception: inference gives up; onnx's exceptions have no common base.
    """
    from onnx import shape_inference

    return shape_inference.infer_shapes(model, data_prop=not _could_explode(model))


def _could_explode(model: "ModelProto") -> bool:
    nodes = [node for function in model.functions for node in function.node]
    return _graph_could(model.graph) or _nodes_could(nodes)


def _graph_could(graph: "GraphProto") -> bool:
    return (
        any(_is_long(entry.type.tensor_type.shape.dim) for entry in graph.input)
        or any(_is_long_or_large(tensor) for tensor in graph.initializer)
        or _nodes_could(graph.node)
    )


def _nodes_could(nodes: "Iterable[NodeProto]") -> bool:
    lengths: dict[str, int] = {}
    for node in nodes:
        if any(_is_long_or_large(tensor) for tensor in _tensors(node)) or any(map(_graph_could, bodies(node))):
            return True
        if node.op_type in _PROPAGATE:
            total = [lengths.get(name, 1) for name in node.input]
            length = sum(total) if node.op_type == "Concat" else max(total, default=1)
            lengths |= dict.fromkeys(node.output, length)
            if length > _LONGEST:
                return True
    return False


def _is_long(dims: Iterable[object]) -> bool:
    lengths = [getattr(dim, "dim_value", dim) for dim in dims]
    return len(lengths) == 1 and isinstance(lengths[0], int) and lengths[0] > _LONGEST


def _is_long_or_large(tensor: "TensorProto") -> bool:
    """Whether it is a long list, or one that says how long others are."""
    from onnx import TensorProto, numpy_helper

    if _is_long(tensor.dims):
        return True
    if tensor.data_type not in (TensorProto.INT32, TensorProto.INT64) or tensor.external_data:
        return False
    if len(tensor.raw_data) > 8 * _LARGEST_SHAPE_TENSOR or not (
        tensor.raw_data or tensor.int64_data or tensor.int32_data
    ):
        return False
    values = numpy_helper.to_array(tensor)
    return bool(np.any((values > _LONGEST) & ~np.isin(values, _TO_THE_END)))


def _tensors(node: "NodeProto") -> "Iterator[TensorProto]":
    if node.op_type in ("Constant", "ConstantOfShape"):
        yield from (attribute.t for attribute in node.attribute if attribute.HasField("t"))
