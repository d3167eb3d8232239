"""A bfloat16 model where onnxruntime has no kernels for it: float32 arithmetic, rounded behind every operator.

That is what kernels of bfloat16 do: they add in float32 and round the result. Inputs and outputs keep their type.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING

import ml_dtypes
import numpy as np

from bnfold.intake.tensors import is_external
from bnfold.verifier.models.dtypes import BFLOAT16, FLOAT
from bnfold.verifier.models.external_data import Array

if TYPE_CHECKING:
    from onnx import GraphProto, ModelProto, NodeProto, TensorProto


def emulate(model: "ModelProto") -> "ModelProto | None":
    """The model in float32 with the roundings of bfloat16; None where it has none, or functions of its own.

    A tensor that is made by a node keeps its name, and holds the same numbers as float32.
    """
    from onnx import ModelProto
    from onnx.shape_inference import infer_shapes

    copy = ModelProto()
    copy.CopyFrom(model)
    if copy.functions:
        return None
    try:
        inferred = infer_shapes(copy)
    except Exception:  # whatever it is: without types there is nothing to emulate
        return None
    return copy if _emulate_graph(copy.graph, inferred.graph, is_main=True) else None


def _emulate_graph(graph: "GraphProto", inferred: "GraphProto", *, is_main: bool) -> bool:
    """Change a graph in place; whether there was anything to change."""
    narrow = {
        entry.name
        for entry in (*inferred.value_info, *inferred.input, *inferred.output)
        if entry.type.tensor_type.elem_type == BFLOAT16
    }
    stored = {tensor.name for tensor in graph.initializer if tensor.data_type == BFLOAT16}
    for tensor in graph.initializer:
        _widen(tensor)
    inputs = [entry.name for entry in graph.input if entry.name in narrow - stored] if is_main else []
    outputs = [entry.name for entry in graph.output if entry.name in narrow] if is_main else []
    renamed = {name: f"{name}!single" for name in (*inputs, *outputs)}
    nodes = [_cast(name, renamed[name], FLOAT) for name in inputs]
    changed = bool(narrow | stored)
    for node, twin in zip(graph.node, inferred.node, strict=True):
        changed |= _emulate_node(node, twin)
        nodes += _rounded(node, narrow, renamed)
    nodes += [_cast(renamed[name], name, BFLOAT16) for name in outputs]
    _declare(graph, is_main=is_main)
    del graph.node[:], graph.value_info[:]
    graph.node.extend(nodes)
    return changed


def _emulate_node(node: "NodeProto", twin: "NodeProto") -> bool:
    """Change a node's own types and bodies in place."""
    changed = False
    for attribute, same in zip(node.attribute, twin.attribute, strict=True):
        if attribute.name in ("to", "dtype") and attribute.i == BFLOAT16:
            attribute.i = FLOAT
        if attribute.HasField("t"):
            _widen(attribute.t)
        if attribute.HasField("g"):
            changed |= _emulate_graph(attribute.g, same.g, is_main=False)
    return changed


def _rounded(node: "NodeProto", narrow: set[str], renamed: dict[str, str]) -> "list[NodeProto]":
    """The node, and a rounding of each of its outputs that was bfloat16."""
    _rename_reads(node, renamed)
    nodes = [node]
    for place, name in enumerate(node.output):
        if name in narrow:
            node.output[place] = f"{name}!exact"
            nodes += [
                _cast(f"{name}!exact", f"{name}!narrow", BFLOAT16),
                _cast(f"{name}!narrow", renamed.get(name, name), FLOAT),
            ]
    return nodes


def _rename_reads(node: "NodeProto", renamed: dict[str, str]) -> None:
    for place, name in enumerate(node.input):
        node.input[place] = renamed.get(name, name)
    for attribute in node.attribute:
        for inner in attribute.g.node if attribute.HasField("g") else ():
            _rename_reads(inner, renamed)


def _declare(graph: "GraphProto", *, is_main: bool) -> None:
    """Inputs and outputs of a body are float32 now; those of the model stay what they are."""
    for entry in () if is_main else (*graph.input, *graph.output):
        if entry.type.tensor_type.elem_type == BFLOAT16:
            entry.type.tensor_type.elem_type = FLOAT


def _cast(source: str, target: str, element: int) -> "NodeProto":
    from onnx import helper

    return helper.make_node("Cast", [source], [target], to=element)


def widened(weights: Mapping[str, Array]) -> dict[str, Array]:
    """Values beside the model, in float32 where they were in bfloat16."""
    narrow = np.dtype(ml_dtypes.bfloat16)
    return {name: values.astype(np.float32) if values.dtype == narrow else values for name, values in weights.items()}


def _widen(tensor: "TensorProto") -> None:
    from onnx import numpy_helper

    if tensor.data_type == BFLOAT16 and is_external(tensor):
        tensor.data_type = FLOAT
    elif tensor.data_type == BFLOAT16:
        values = numpy_helper.to_array(tensor).astype(np.float32)
        tensor.CopyFrom(numpy_helper.from_array(values, tensor.name))
