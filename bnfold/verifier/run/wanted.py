"""What a graph wants of its inputs beyond what the file says: sizes, and integers that stay inside a table.

Sizes are read off the weights that inputs meet. Each free one gets a symbol, and ONNX's shape inference says where that
comes out. An embedding table of 1,000 rows looked up with 1,000,000 stops the run, and one looked up with 0 to 7 alone
leaves most of the table unseen; so integers take all values below its length.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

from bnfold.verifier.models.graph import Structure, is_standard
from bnfold.verifier.models.signature import declared_shape
from bnfold.verifier.run.inferred_shapes import inferred, shapes_in

if TYPE_CHECKING:
    from onnx import NodeProto

Key: TypeAlias = str | tuple[str, int]
"""Of a free size: its symbol, which has one size everywhere, or the input and the axis."""

# The values of the first input go on as they are, or some of them do.
_KEEPS_VALUES = frozenset(
    "Cast Expand Flatten Gather Identity Reshape Slice Split Squeeze Transpose Unsqueeze".split()  # noqa: SIM905
)


@dataclass(frozen=True)
class Wanted:
    """What a graph wants of its inputs.

    Attributes:
        sizes: of those that the file leaves free, where a weight says one.
        bounds: below which the integers of an input have to stay, by its name.
    """

    sizes: Mapping[Key, int] = field(default_factory=dict)
    bounds: Mapping[str, int] = field(default_factory=dict)


NOTHING = Wanted()


def wanted_by(graph: Structure) -> Wanted:
    """What a graph wants of its inputs."""
    return Wanted(_wanted_sizes(graph), index_bounds(graph, graph.inputs))


class FirstInput(NamedTuple):
    """What an operator wants of its first input, as its second one says.

    Attributes:
        rank: its rank; where that is free, a usual one.
        axis: of which the second input says the size, from the front or, if negative, from the back.
        size: along this axis.
    """

    rank: int
    axis: int
    size: int


def first_input_of(node: "NodeProto", second: Sequence[int | str]) -> FirstInput | None:
    """What a node wants of its first input; None where the shape of its second one, `second`, does not say it."""
    attributes = {entry.name: entry.i for entry in node.attribute}
    match node.op_type if is_standard(node) else "", second:
        case "Conv", (_, int(channels), *kernel):
            return FirstInput(2 + len(kernel), 1, channels * attributes.get("group", 1))
        case "ConvTranspose", (int(channels), _, *kernel):
            return FirstInput(2 + len(kernel), 1, channels)
        case "BatchNormalization" | "InstanceNormalization", (int(channels),):
            return FirstInput(4, 1, channels)
        case "MatMul", (*_, int(features), _):
            return FirstInput(3, -1, features)
        case "Gemm", (int(rows), int(columns)) if not attributes.get("transA"):
            return FirstInput(2, -1, columns if attributes.get("transB") else rows)
        case "LSTM" | "GRU" | "RNN", (_, _, int(features)):
            return FirstInput(3, -1, features)
    return None


def _wanted_sizes(graph: Structure) -> dict[Key, int]:
    keys: dict[Key, str] = {}  # and the symbol that each gets
    declared: dict[str, list[int | str]] = {}
    for entry in graph.model.proto.graph.input:
        for axis, size in enumerate(declared_shape(entry) if entry.name in graph.inputs else ()):
            key = (entry.name, axis) if size is None else size
            symbol = key if isinstance(key, int) else keys.setdefault(key, f"free {len(keys)}")
            declared.setdefault(entry.name, []).append(symbol)
    known = inferred(graph.model.proto, declared) if keys else None
    if known is None:
        return {}
    shapes = shapes_in(known)
    wanted: dict[int | str, int] = {}
    for node in known.node:
        source, second = (shapes.get(name, ()) for name in (*node.input[:2], "", "")[:2])
        first = first_input_of(node, second)
        if first and -len(source) <= first.axis < len(source):
            wanted.setdefault(source[first.axis], first.size)
    return {key: wanted[symbol] for key, symbol in keys.items() if symbol in wanted}


def index_bounds(graph: Structure, names: Collection[str]) -> dict[str, int]:
    """Of some tensors those whose values index something of known length, and the smallest such length."""
    bounds: dict[str, int] = {}
    for node in reversed(graph.nodes):
        moved = node.input if node.op_type == "Concat" else node.input[:1] if node.op_type in _KEEPS_VALUES else ()
        behind = [(name, bounds[made]) for made in node.output if made in bounds for name in moved]
        for name, length in (*_indexed(node, graph), *behind):
            if length > 0:
                bounds[name] = min(length, bounds.get(name, length))
    return {name: bounds[name] for name in names if name in bounds}


def _indexed(node: "NodeProto", graph: Structure) -> Iterator[tuple[str, int]]:
    """What a node indexes a stored table by, and the length of that; likewise what it makes one-hot."""
    match node.op_type:
        case "OneHot" if graph.parameter(node.input[1]) is not None:
            yield node.input[0], int(graph.array(node.input[1]).reshape(-1)[0])
        case "Gather" | "GatherElements" | "GatherND" if (table := graph.parameter(node.input[0])) and table.dims:
            axis = next((entry.i for entry in node.attribute if entry.name == "axis"), 0)
            yield node.input[1], min(table.dims) if node.op_type == "GatherND" else table.dims[axis]
