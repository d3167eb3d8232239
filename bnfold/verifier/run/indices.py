"""Inputs that index something: below which number they have to stay, read off the graph.

An embedding table of 1,000 rows looked up with 1,000,000 stops the run, and one looked up with 0 to 7 alone leaves
most of the table unseen.
"""

from collections.abc import Iterable
from typing import TYPE_CHECKING

from bnfold.verifier.models.graph import Structure

if TYPE_CHECKING:
    from onnx import NodeProto

# The values of the first input go on as they are, or some of them do.
_KEEPS_VALUES = frozenset(
    "Cast Concat Expand Flatten Gather Identity Reshape Slice Split Squeeze Transpose Unsqueeze".split()  # noqa: SIM905
)


def index_bounds(graph: Structure, names: "Iterable[str] | None" = None) -> dict[str, int]:
    """For each tensor that indexes something of known length: the smallest such length.

    Args:
        graph: the model.
        names: of the tensors; None for its inputs.
    """
    readers: dict[str, list[tuple[NodeProto, int]]] = {}
    for node in graph.nodes:
        for slot, name in enumerate(node.input):
            readers.setdefault(name, []).append((node, slot))
    bounds = {name: _bound(name, readers, graph) for name in (graph.inputs if names is None else names)}
    return {name: bound for name, bound in bounds.items() if bound}


def _bound(name: str, readers: "dict[str, list[tuple[NodeProto, int]]]", graph: Structure) -> int:
    """The smallest length that values of a tensor index; 0 where none is known."""
    lengths: list[int] = []
    waiting, seen = [name], {name}
    while waiting:
        for node, slot in readers.get(waiting.pop(), ()):
            length = _indexed_length(node, slot, graph)
            if length:
                lengths.append(length)
            elif node.op_type in _KEEPS_VALUES and (slot == 0 or node.op_type == "Concat"):
                new = set(node.output) - seen
                seen |= new
                waiting += new
    return min(lengths, default=0)


def _indexed_length(node: "NodeProto", slot: int, graph: Structure) -> int:
    if node.op_type == "OneHot" and slot == 0:
        depth = graph.parameter(node.input[1])
        return int(graph.array(node.input[1]).reshape(-1)[0]) if depth is not None else 0
    if node.op_type not in ("Gather", "GatherElements", "GatherND") or slot != 1:
        return 0
    table = graph.parameter(node.input[0])
    if table is None or not table.dims:
        return 0
    if node.op_type == "GatherND":
        return int(min(table.dims))
    axis = next((entry.i for entry in node.attribute if entry.name == "axis"), 0)
    return int(table.dims[axis])
