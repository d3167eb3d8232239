"""Size of a model: its nodes and its parameters, counted."""

import math
from collections.abc import Iterable

import onnx

from bnfold.frontends.onnx.graph import subgraphs
from bnfold.intake.tensors import stored_tensors


def count_nodes(model: onnx.ModelProto) -> int:
    """Nodes of the graph, its bodies and the model's functions."""
    return _count(model.graph.node) + sum(_count(function.node) for function in model.functions)


def count_parameters(model: onnx.ModelProto) -> int:
    """Numbers in stored tensors."""
    return sum(math.prod(tensor.dims) for tensor in stored_tensors(model))


def _count(nodes: Iterable[onnx.NodeProto]) -> int:
    return sum(1 + sum(_count(body.node) for _, body in subgraphs(node)) for node in nodes)
