"""How large the tensors inside a model are on inputs of given shapes, by ONNX's own shape inference."""

from collections.abc import Mapping, Sequence
from math import prod
from typing import TYPE_CHECKING

from bnfold.intake.inference import infer_shapes
from bnfold.intake.tensors import bytes_of

if TYPE_CHECKING:
    from onnx import GraphProto, ModelProto, ValueInfoProto

# Enough for every tensor that holds a shape; larger ones are not needed to infer others.
_LARGEST_SHAPE_TENSOR = 1024


def inferred(model: "ModelProto", shapes: Mapping[str, Sequence[int]]) -> "GraphProto | None":
    """The main graph, calls of functions written out, with what is known of its tensors; large weights are inputs.

    Args:
        model: the model.
        shapes: of its inputs.

    Returns:
        The graph; None where inference gives up.
    """
    from onnx.inliner import inline_local_functions

    skeleton = _without_weights(model)
    for entry in skeleton.graph.input:
        if entry.name in shapes and entry.type.HasField("tensor_type"):
            del entry.type.tensor_type.shape.dim[:]
            for size in shapes[entry.name]:
                entry.type.tensor_type.shape.dim.add(dim_value=size)
    try:
        whole = inline_local_functions(skeleton) if skeleton.functions else skeleton
        graph: GraphProto = infer_shapes(whole).graph
    except Exception:  # an aid only: where it fails, nothing is known
        return None
    return graph


def sizes_in(graph: "GraphProto") -> dict[str, int]:
    """Bytes of each tensor of a graph whose shape is known, those of its bodies left out."""
    known = {entry.name: _size(entry) for entry in (*graph.value_info, *graph.output, *graph.input)}
    return {name: size for name, size in known.items() if size}


def _size(entry: "ValueInfoProto") -> int:
    kind = entry.type.tensor_type
    if not kind.HasField("shape"):
        return 0
    return bytes_of(kind.elem_type, prod(dim.dim_value for dim in kind.shape.dim))


def _without_weights(model: "ModelProto") -> "ModelProto":
    """The main graph with large initializers as inputs."""
    from onnx import ModelProto, helper

    skeleton = ModelProto(ir_version=model.ir_version, opset_import=model.opset_import, functions=model.functions)
    graph = skeleton.graph
    known = {entry.name for entry in model.graph.input}
    graph.input.extend(model.graph.input)
    for tensor in model.graph.initializer:
        if prod(tensor.dims) <= _LARGEST_SHAPE_TENSOR and not tensor.external_data:
            graph.initializer.append(tensor)
        elif tensor.name not in known:
            graph.input.append(helper.make_tensor_value_info(tensor.name, tensor.data_type, tensor.dims))
    graph.node.extend(model.graph.node)
    graph.output.extend(model.graph.output)
    return skeleton
