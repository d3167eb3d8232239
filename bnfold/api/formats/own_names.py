"""Names of its own for a model that an exporter made: it names tensors by position, and the verifier believes names."""

import onnx

from bnfold.intake.tensor_names import rename_tensors, tensor_names


def with_own_names(model: onnx.ModelProto) -> onnx.ModelProto:
    """The same model with other names for all tensors inside, in place: a name that two exports share says nothing."""
    kept = {entry.name for entry in (*model.graph.input, *model.graph.output)}
    inside = {name for name in tensor_names(model.graph) if name} - kept
    rename_tensors(model.graph, {name: f"new/{name}" for name in inside})
    return model
