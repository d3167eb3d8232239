"""BatchNorms that say training: how a file says it, and reading a model as an inference model nevertheless."""

import onnx

from bnfold.frontends.onnx.graph import Node, index_model

FIRST_WITH_TRAINING_MODE = 14
"""Below this opset, five outputs say training and one says inference. Source: ONNX BatchNormalization-9, -14"""


def assume_inference(model: onnx.ModelProto) -> bool:
    """Turn every BatchNorm that says training into an inference one, in place, where nobody reads its statistics.

    Returns:
        Whether anything changed.
    """
    changed = False
    for node in index_model(model).nodes():
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


def _trains(node: Node) -> bool:
    if node.opset < FIRST_WITH_TRAINING_MODE:
        return any(node.proto.output[1:])
    return any(entry.name == "training_mode" and entry.i for entry in node.proto.attribute)
