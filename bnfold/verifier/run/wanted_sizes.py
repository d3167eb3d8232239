"""Sizes that a graph wants of its inputs where the file leaves them free, read off the weights that they meet."""

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from bnfold.verifier.models.graph import Structure, is_standard

if TYPE_CHECKING:
    from onnx import NodeProto

Wants = Mapping[str, Mapping[int, int]]
"""Size by axis, from the front or, if negative, from the back; by the name of the input."""

_KEEPS_SIZES = frozenset(
    "Abs Cast Clip Identity LeakyRelu Log Neg Relu Sigmoid Sqrt Tanh".split()  # noqa: SIM905
)
_CHANNELS, _LAST = 1, -1


def wanted_sizes(graph: Structure) -> dict[str, dict[int, int]]:
    """What convolutions, matrix products and the like want of the inputs that they read, directly or nearly so."""
    readers: dict[str, list[NodeProto]] = {}
    for node in graph.nodes:
        for name in node.input[:1]:
            readers.setdefault(name, []).append(node)
    return {name: wanted for name in graph.inputs if (wanted := dict(_wanted(name, readers, graph)))}


def _wanted(name: str, readers: "Mapping[str, list[NodeProto]]", graph: Structure) -> Iterator[tuple[int, int]]:
    waiting, seen = [name], {name}
    while waiting:
        for node in readers.get(waiting.pop(), ()):
            yield from sizes_of_weight(node, graph)
            if is_standard(node) and node.op_type in _KEEPS_SIZES and not seen.issuperset(node.output):
                seen.update(node.output)
                waiting += node.output


def sizes_of_weight(node: "NodeProto", graph: Structure) -> Iterator[tuple[int, int]]:
    """What a node with a stored weight wants of its first input: axes, and how long they are."""
    weight = graph.parameter(node.input[1]) if len(node.input) > 1 and is_standard(node) else None
    if weight is None:
        return
    attributes = {entry.name: entry.i for entry in node.attribute}
    match node.op_type, len(weight.dims):
        case "Conv", rank if rank > _CHANNELS:
            yield _CHANNELS, weight.dims[1] * attributes.get("group", 1)
        case "ConvTranspose", rank if rank > _CHANNELS:
            yield _CHANNELS, weight.dims[0]
        case "BatchNormalization" | "InstanceNormalization", 1:
            yield _CHANNELS, weight.dims[0]
        case "MatMul", rank if rank > _CHANNELS:
            yield _LAST, weight.dims[-2]
        case "Gemm", 2 if not attributes.get("transA"):
            yield _LAST, weight.dims[1 if attributes.get("transB") else 0]
        case "LSTM" | "GRU" | "RNN", 3:
            yield _LAST, weight.dims[2]
