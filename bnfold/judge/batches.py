"""How many sites are looked at in one run, so that memory stays within a budget."""

from collections.abc import Mapping, Sequence
from math import prod
from typing import TYPE_CHECKING

from bnfold.judge.sites import Site
from bnfold.judge.structure import Structure

if TYPE_CHECKING:
    from onnx import ModelProto, ValueInfoProto

# A tensor of the site in both models on two samples, moved once, and cut out thrice; each tensor of its boundary twice.
_COPIES, _COPIES_OF_BOUNDARY = 8, 2
_BYTES = 4
# Enough for every tensor that holds a shape; larger ones are not needed to infer others.
_LARGEST_SHAPE_TENSOR = 1024


def batches(
    sites: Sequence[Site], original: Structure, shapes: Mapping[str, Sequence[int]], budget: int
) -> list[list[Site]]:
    """Sites in groups whose tensors fit into the budget together; at least one group, each of at least one site.

    Args:
        sites: in the order of the graph.
        original: the model.
        shapes: of its inputs.
        budget: in bytes.
    """
    sizes = _sizes(original.model.proto, shapes) if sites else {}
    unknown = max(sizes.values(), default=0)
    groups: list[list[Site]] = [[]]
    used = 0
    for site in sites:
        needed = _COPIES * sizes.get(site.tensor, unknown)
        needed += _COPIES_OF_BOUNDARY * sum(sizes.get(name, unknown) for name in site.boundary)
        if groups[-1] and used + needed > budget:
            groups.append([])
            used = 0
        groups[-1].append(site)
        used += needed
    return groups


def _sizes(model: "ModelProto", shapes: Mapping[str, Sequence[int]]) -> dict[str, int]:
    """Bytes of each tensor whose shape ONNX infers, roughly: four for a number."""
    from onnx.shape_inference import infer_shapes

    skeleton = _without_weights(model)
    for entry in skeleton.graph.input:
        for dim, size in zip(entry.type.tensor_type.shape.dim, shapes.get(entry.name, ()), strict=False):
            dim.dim_value = size
    try:
        graph = infer_shapes(skeleton, data_prop=True).graph
    except Exception:  # an estimate only: where it fails, every tensor counts alike
        return {}
    known = {entry.name: _size(entry) for entry in (*graph.value_info, *graph.output, *graph.input)}
    return {name: size for name, size in known.items() if size}


def _size(entry: "ValueInfoProto") -> int:
    kind = entry.type.tensor_type
    return _BYTES * prod(dim.dim_value for dim in kind.shape.dim) if kind.HasField("shape") else 0


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
