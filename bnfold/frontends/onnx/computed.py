"""Constants that a graph computes: what onnx's own reference implementation makes of tensors that the file fixes.

Frameworks write a frozen BatchNorm, a normalised weight or an exploded statistic as arithmetic on initializers.
Whatever depends on nothing else is a constant, and onnx's list of operators says what it is.
"""

from collections.abc import Sequence
from functools import cache
from math import prod
from typing import TYPE_CHECKING

import numpy as np
import onnx
import onnx.checker
import onnx.defs
import onnx.helper
import onnx.numpy_helper
import onnx.shape_inference

from bnfold.frontends.onnx.constant_ops import AnyArray
from bnfold.frontends.onnx.graph import OnnxNode
from bnfold.intake.inference import infer_shapes
from bnfold.refusal import Reason, Refusal

if TYPE_CHECKING:
    from onnx import ModelProto

# Numbers. What a graph makes of weights is about as large as they are; more is a file that asks for memory.
_MOST_FROM_NOTHING = 2**20
_MOST_TIMES_LARGER = 4
_MOST_THAT_GROWS = 2**26
# Sizes, axes and bounds: shape inference may look at the values.
_SMALL = 64


def can_compute(node: OnnxNode) -> bool:
    """Whether an operator makes one tensor, the same every time, of nothing but tensors."""
    return (
        node.is_standard
        and node.traits.can_be_computed
        and len([name for name in node.proto.output if name]) == 1
        and _is_plain(node.proto.op_type, node.opset)
        and not any(entry.HasField("g") or entry.graphs for entry in node.proto.attribute)
    )


@cache
def _is_plain(op_type: str, opset: int) -> bool:
    try:
        schema = onnx.defs.get_schema(op_type, opset)
    except onnx.defs.SchemaError:
        return False
    kinds = {kind for port in (*schema.inputs, *schema.outputs) for kind in port.types}
    only_tensors = all(kind.startswith("tensor(") for kind in kinds)
    return only_tensors and not schema.deprecated


def compute(node: OnnxNode, operands: Sequence[AnyArray]) -> AnyArray | Refusal:
    """What the node makes of its inputs, in the type that the operator has.

    Args:
        node: one that `can_compute`.
        operands: the values of its inputs, without those that are absent.

    Returns:
        The values; DYNAMIC_PARAMETER where they would be much larger than the operands, or onnx cannot compute them.
    """
    from onnx.reference import ReferenceEvaluator

    model = _model(node, operands)
    problem = _size_problem(node, model, operands)
    if problem:
        return Refusal(Reason.DYNAMIC_PARAMETER, problem)
    feeds = {entry.name: operand for entry, operand in zip(model.graph.input, operands, strict=False)}
    try:
        with np.errstate(all="ignore"):
            (result,) = ReferenceEvaluator(model).run(None, feeds)
    except Exception as error:  # onnx's implementations raise what they like
        return Refusal(Reason.DYNAMIC_PARAMETER, f"{node.label!r} ({node.op}) cannot be computed beforehand: {error}")
    return np.asarray(result)


def _model(node: OnnxNode, operands: Sequence[AnyArray]) -> "ModelProto":
    """The node alone; each of its inputs is one of the model."""
    names = [f"x{slot}" if source is not None else "" for slot, source in enumerate(node.inputs)]
    proto = onnx.NodeProto()
    proto.CopyFrom(node.proto)
    del proto.input[:], proto.output[:]
    proto.input.extend(names)
    proto.output.extend("y" if name else "" for name in node.proto.output)
    inputs = [
        onnx.helper.make_tensor_value_info(name, onnx.helper.np_dtype_to_tensor_dtype(values.dtype), values.shape)
        for name, values in zip(filter(None, names), operands, strict=True)
    ]
    result = onnx.ValueInfoProto(name="y")
    graph = onnx.helper.make_graph([proto], "constant", inputs, [result])
    return onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", node.opset)])


def _size_problem(node: OnnxNode, model: "ModelProto", operands: Sequence[AnyArray]) -> str:
    """Why the result is not computed, before anything of its size exists."""
    seen = onnx.ModelProto()
    seen.CopyFrom(model)
    for entry, values in zip(model.graph.input, operands, strict=True):
        if values.size <= _SMALL and values.dtype.kind in "iu":
            seen.graph.initializer.append(onnx.numpy_helper.from_array(np.asarray(values, order="C"), entry.name))
    try:
        inferred = infer_shapes(seen).graph.output[0].type.tensor_type
    except onnx.shape_inference.InferenceError as error:
        return f"{node.label!r} ({node.op}) cannot be computed beforehand: {error}"
    if not inferred.HasField("shape") or not all(length.HasField("dim_value") for length in inferred.shape.dim):
        return f"{node.label!r} ({node.op}) makes a tensor of a size that is not known beforehand"
    size = prod(length.dim_value for length in inferred.shape.dim)
    largest = max((values.size for values in operands), default=0)
    most = max(_MOST_FROM_NOTHING, largest, min(_MOST_TIMES_LARGER * largest, _MOST_THAT_GROWS))
    return f"{node.label!r} ({node.op}) would make {size:,} numbers, more than {most:,}" if size > most else ""
