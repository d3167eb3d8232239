"""Shapes known before run time: ONNX's own inference, on a copy of the graph without the weights."""

from collections.abc import Iterable

import onnx
import onnx.helper

from bnfold.frontends.onnx.graph import GraphIndex, GraphLike, OnnxValue, Scope, Shape, canonical_domain, subgraphs
from bnfold.frontends.onnx.operators.table import OPERATORS
from bnfold.intake import inference

# Enough for every tensor that holds a shape, axes or pads; weights are larger and inference never reads them.
_LARGEST_SHAPE_TENSOR = 1024


def infer_shapes(index: GraphIndex, known: Iterable[OnnxValue] = ()) -> None:
    """Set `shape` and `element_type` of every tensor where they are known before run time.

    Shapes that the file merely declares are not believed, only those of the graph's inputs: a stale value_info would
    turn into a wrong fold.

    Args:
        index: the graphs.
        known: tensors of the main graph whose shapes were found out in another way.
    """
    skeleton = _skeleton(index)
    for value in known:
        if value.scope is index.main and not value.is_input:
            skeleton.graph.value_info.append(_described(value))
    try:
        inferred = inference.infer_shapes(skeleton)
    except Exception:
        # Inference is an aid: where it gives up, ranks stay unknown, and what needs them is refused with that reason.
        return
    _read(index.main, inferred.graph, index)


def _described(value: OnnxValue) -> onnx.ValueInfoProto:
    lengths = None if value.shape is None else [length if isinstance(length, int) else None for length in value.shape]
    return onnx.helper.make_tensor_value_info(value.name, value.element_type, lengths)


def _skeleton(index: GraphIndex) -> onnx.ModelProto:
    model = index.model
    copy = onnx.ModelProto(ir_version=model.ir_version)
    copy.opset_import.extend(model.opset_import)
    copy.functions.extend(model.functions)
    _copy_graph(model.graph, copy.graph)
    # Without outputs the graph's results are inferred like every other tensor. Inference gives up on the whole model
    # where an output is an initializer.
    del copy.graph.output[:]
    return copy


def _copy_graph(source: onnx.GraphProto, target: onnx.GraphProto) -> None:
    target.name = source.name
    target.input.extend(source.input)
    for entry in source.output:
        copied = target.output.add(name=entry.name)
        if entry.type.HasField("tensor_type"):
            copied.type.tensor_type.elem_type = entry.type.tensor_type.elem_type
        else:
            copied.type.CopyFrom(entry.type)
    for tensor in source.initializer:
        _copy_tensor(tensor, target.initializer.add())
    for node in source.node:
        _copy_node(node, target.node.add())


def _copy_tensor(source: onnx.TensorProto, target: onnx.TensorProto) -> None:
    elements = 1
    for dim in source.dims:
        elements *= dim
    if elements <= _LARGEST_SHAPE_TENSOR and source.data_location != onnx.TensorProto.EXTERNAL:
        target.CopyFrom(source)
        return
    target.name = source.name
    target.data_type = source.data_type
    target.dims.extend(source.dims)


def _copy_node(source: onnx.NodeProto, target: onnx.NodeProto) -> None:
    operator = OPERATORS.get((canonical_domain(source.domain), source.op_type))
    if operator is not None and operator.traits.is_unknown_to_inference:
        # Nothing would be inferred behind it either.
        target.op_type, target.name = "Identity", source.name
        target.input.extend(source.input[:1])
        target.output.extend(source.output)
        return
    if not any(True for _ in subgraphs(source)) and source.op_type != "Constant":
        target.CopyFrom(source)
        return
    target.op_type, target.domain, target.name = source.op_type, source.domain, source.name
    target.input.extend(source.input)
    target.output.extend(source.output)
    for attribute in source.attribute:
        copied = target.attribute.add(name=attribute.name, type=attribute.type)
        for graph in attribute.graphs:
            _copy_graph(graph, copied.graphs.add())
        if attribute.type == onnx.AttributeProto.GRAPH:
            _copy_graph(attribute.g, copied.g)
        elif attribute.type == onnx.AttributeProto.TENSOR:
            _copy_tensor(attribute.t, copied.t)
        elif attribute.type != onnx.AttributeProto.GRAPHS:
            copied.CopyFrom(attribute)


def _read(scope: Scope, inferred: onnx.GraphProto, index: GraphIndex) -> None:
    for entries in (inferred.input, inferred.value_info, inferred.output):
        for entry in entries:
            value = scope.values.get(entry.name)
            if value is None:
                continue
            value.element_type = entry.type.tensor_type.elem_type or value.element_type
            if entry.type.tensor_type.HasField("shape"):
                value.shape = _dimensions(entry.type.tensor_type.shape)
    bodies = _bodies(scope.proto, inferred)
    for child in index.scopes:
        if child.parent is scope and id(child.proto) in bodies:
            _read(child, bodies[id(child.proto)], index)


def _bodies(original: GraphLike, inferred: onnx.GraphProto) -> dict[int, onnx.GraphProto]:
    return {
        id(body): twin
        for node, copy in zip(original.node, inferred.node, strict=True)
        for (_, body), (_, twin) in zip(subgraphs(node), subgraphs(copy), strict=True)
    }


def _dimensions(shape: onnx.TensorShapeProto) -> Shape:
    return tuple(
        dim.dim_value if dim.HasField("dim_value") and dim.dim_value >= 0 else dim.dim_param or None
        for dim in shape.dim
    )
