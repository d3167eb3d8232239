"""Reading a model as an inference model although its BatchNorms say training."""

import onnx

from bnfold.frontends.onnx.graph import index_model


def assume_inference(model: onnx.ModelProto) -> bool:
    """Turn every BatchNorm with training_mode=1 whose statistics nobody reads into an inference one, in place.

    Returns:
        Whether anything changed.
    """
    changed = False
    for node in index_model(model).nodes():
        flag = next((entry for entry in node.proto.attribute if entry.name == "training_mode" and entry.i), None)
        statistics = [value for value in node.outputs[1:] if value is not None]
        if not node.is_batch_norm or flag is None or any(value.readers or value.is_output for value in statistics):
            continue
        flag.i = 0
        del node.proto.output[1:]
        changed = True
    return changed
