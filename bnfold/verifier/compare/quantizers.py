"""How far the steps of a model's own quantizers carry: the same model with values on the other side of a rounding.

A quantizer makes a whole step of the last bit of what it rounds, wherever that lies at the border between two steps. In
an image of 10,000 pixels some always do, and onnxruntime moves more of them across: at default settings its optimiser
WeightBiasQuantization turns a float bias into int32. No rounding of the inputs shows that, since they are quantized as
well.
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from bnfold.verifier.models.dtypes import DOUBLE, FLOAT
from bnfold.verifier.models.load import Model

if TYPE_CHECKING:
    from onnx import ModelProto, NodeProto

BLAMED_OPTIMISERS = ("WeightBiasQuantization",)
"""Those of onnxruntime's that quantize what the model does not."""

_DOMAINS = ("", "ai.onnx", "com.microsoft")
_PREFIX = "bnfold.step"


def moved_by_a_step(model: Model, seed: int) -> Model | None:
    """The same model with every value that it quantizes moved by up to a step of its quantizer.

    Args:
        model: the model.
        seed: of the moves.

    Returns:
        None where it quantizes nothing.
    """
    from onnx import ModelProto

    found = list(_quantizers(model.proto))
    if not found:
        return None
    proto = ModelProto()
    proto.CopyFrom(model.proto)
    nodes = list(proto.graph.node)
    for index, node, element in reversed(found):
        moving = list(_moves(node, f"{_PREFIX}.{index}", element, float(seed * len(nodes) + index)))
        nodes[index].input[0] = moving[-1].output[0]
        nodes[index:index] = moving
    del proto.graph.node[:]
    proto.graph.node.extend(nodes)
    return model.derived(proto)


def _quantizers(proto: "ModelProto") -> "Iterator[tuple[int, NodeProto, int]]":
    """Nodes of the main graph that quantize something that is not stored, with one step for all of it.

    Yields:
        Its place, the node, and the element type of what it quantizes.
    """
    stored = {tensor.name: tensor for tensor in proto.graph.initializer}
    for index, node in enumerate(proto.graph.node):
        if node.domain not in _DOMAINS or node.input[:1] == [""] or (node.input and node.input[0] in stored):
            continue
        if node.op_type == "DynamicQuantizeLinear":
            yield index, node, FLOAT
        elif node.op_type == "QuantizeLinear":
            scale = stored.get(node.input[1])
            if scale is not None and list(scale.dims) in ([], [1]):
                yield index, node, scale.data_type


def _moves(node: "NodeProto", prefix: str, element: int, seed: float) -> "Iterator[NodeProto]":
    """Nodes that move the input of a quantizer; the last one makes the moved tensor."""
    from onnx import helper

    source, step = node.input[0], f"{prefix}.step"
    if node.op_type == "QuantizeLinear":
        step = node.input[1]
    else:
        yield helper.make_node("DynamicQuantizeLinear", [source], [f"{prefix}.whole", step, f"{prefix}.zero"])
    yield helper.make_node("Cast", [step], [f"{prefix}.size"], to=DOUBLE)
    yield helper.make_node(
        "RandomUniformLike", [source], [f"{prefix}.random"], dtype=DOUBLE, low=-1.0, high=1.0, seed=seed
    )
    yield helper.make_node("Mul", [f"{prefix}.random", f"{prefix}.size"], [f"{prefix}.wide"])
    yield helper.make_node("Cast", [f"{prefix}.wide"], [f"{prefix}.move"], to=element)
    yield helper.make_node("Add", [source, f"{prefix}.move"], [f"{prefix}.moved"])
