"""How large the tensors inside a model are on inputs of given shapes, by ONNX's own shape inference."""

from collections.abc import Mapping, Sequence
from math import prod
from typing import TYPE_CHECKING

from bnfold.intake.inference import infer_shapes
from bnfold.intake.tensors import bytes_of

if TYPE_CHECKING:
    from onnx import GraphProto, ModelProto, TensorProto, ValueInfoProto

# Enough for every tensor that holds a shape; of larger ones, the shape alone is of use.
_LARGEST_SHAPE_TENSOR = 1024


def inferred(model: "ModelProto", shapes: Mapping[str, Sequence[int | str]]) -> "GraphProto | None":
    """The main graph, calls of functions written out, with what is known of its tensors.

    Args:
        model: the model; its large weights lie beside it.
        shapes: of its inputs, in numbers and symbols.

    Returns:
        The graph; None where inference gives up.
    """
    from onnx import GraphProto, ModelProto
    from onnx.inliner import inline_local_functions

    graph = GraphProto(node=model.graph.node, input=model.graph.input, output=model.graph.output)
    graph.initializer.extend(map(_bare, model.graph.initializer))
    for entry in graph.input:
        if entry.name in shapes and entry.type.HasField("tensor_type"):
            del entry.type.tensor_type.shape.dim[:]
            for size in shapes[entry.name]:
                entry.type.tensor_type.shape.dim.add(**{"dim_param" if isinstance(size, str) else "dim_value": size})
    opsets, functions = model.opset_import, model.functions
    skeleton = ModelProto(ir_version=model.ir_version, opset_import=opsets, functions=functions, graph=graph)
    try:
        return infer_shapes(inline_local_functions(skeleton) if functions else skeleton).graph
    except Exception:  # an aid only: where it fails, nothing is known
        return None


def _bare(tensor: "TensorProto") -> "TensorProto":
    """The tensor without its data if that is large."""
    from onnx import TensorProto

    if prod(tensor.dims) <= _LARGEST_SHAPE_TENSOR:
        return tensor
    return TensorProto(
        name=tensor.name, data_type=tensor.data_type, dims=tensor.dims, data_location=TensorProto.EXTERNAL
    )


def shapes_in(graph: "GraphProto") -> dict[str, tuple[int | str, ...]]:
    """Shapes of tensors of a graph, in numbers and symbols; "" where nothing is known of a size."""
    shapes: dict[str, tuple[int | str, ...]] = {tensor.name: tuple(tensor.dims) for tensor in graph.initializer}
    for entry in (*graph.value_info, *graph.output, *graph.input):
        dims = entry.type.tensor_type.shape.dim
        shapes[entry.name] = tuple(dim.dim_value if dim.HasField("dim_value") else dim.dim_param for dim in dims)
    return shapes


def sizes_in(graph: "GraphProto") -> dict[str, int]:
    """Bytes of each tensor of a graph whose shape is known, those of its bodies left out."""
    known = {entry.name: _size(entry) for entry in (*graph.value_info, *graph.output, *graph.input)}
    return {name: size for name, size in known.items() if size}


def _size(entry: "ValueInfoProto") -> int:
    kind = entry.type.tensor_type
    if not kind.HasField("shape"):
        return 0
    return bytes_of(kind.elem_type, prod(dim.dim_value for dim in kind.shape.dim))
