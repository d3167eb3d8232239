"""Initializers that are inputs of the graph as well: a caller may replace them, so runtimes cannot count on them."""

import onnx

# Up to this IR version every initializer must also be an input of its graph, and so bodies can have none. Runtimes take
# all of them for constants.
LAST_IR_WITH_INITIALIZERS_AS_INPUTS = 3


def count_overridable(model: onnx.ModelProto) -> int:
    """How many initializers of the main graph a caller may replace."""
    if model.ir_version <= LAST_IR_WITH_INITIALIZERS_AS_INPUTS:
        return 0
    stored = _stored(model.graph)
    return sum(entry.name in stored for entry in model.graph.input)


def freeze_initializers(model: onnx.ModelProto) -> None:
    """Take all initializers of the main graph off its inputs, in place, where the IR version allows that."""
    if model.ir_version <= LAST_IR_WITH_INITIALIZERS_AS_INPUTS:
        return
    stored = _stored(model.graph)
    for position in reversed(range(len(model.graph.input))):
        if model.graph.input[position].name in stored:
            del model.graph.input[position]


def _stored(graph: onnx.GraphProto) -> set[str]:
    return {tensor.name for tensor in graph.initializer} | {tensor.values.name for tensor in graph.sparse_initializer}
