"""Nodes that say training: how a file says it, and reading a model as an inference model nevertheless."""

import onnx

from bnfold.frontends.onnx.graph import OnnxNode
from bnfold.frontends.onnx.indexing import index_model
from bnfold.frontends.onnx.operators.batch_norms import FIRST_WITH_TRAINING_MODE

_TRAINING_MODE = 2


def assume_inference(model: onnx.ModelProto) -> bool:
    """Turn every BatchNorm that says training into an inference one, in place, where nobody reads its statistics.

    A Dropout in training mode would make the network's output another one in each run: it becomes one of inference.

    Returns:
        Whether anything changed.
    """
    changed = False
    for node in index_model(model).nodes():
        if _may_drop(node):
            del node.proto.input[_TRAINING_MODE:]
            changed = True
            continue
        statistics = [value for value in node.outputs[1:] if value is not None]
        if not node.is_batch_norm or not _trains(node):
            continue
        if any(value.readers or value.is_output for value in statistics):
            continue
        for entry in node.proto.attribute:
            if entry.name == "training_mode":
                entry.i = 0
        del node.proto.output[1:]
        changed = True
    return changed


def _may_drop(node: OnnxNode) -> bool:
    """Whether it is a Dropout whose third input may say training. Source: ONNX Dropout-12 to -22."""
    proto = node.proto
    return proto.domain in ("", "ai.onnx") and proto.op_type == "Dropout" and any(proto.input[_TRAINING_MODE:])


def _trains(node: OnnxNode) -> bool:
    if node.opset < FIRST_WITH_TRAINING_MODE:
        return any(node.proto.output[1:])
    return any(entry.name == "training_mode" and entry.i for entry in node.proto.attribute)
