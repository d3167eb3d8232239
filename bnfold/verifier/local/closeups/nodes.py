"""The two nodes that a site consists of, where it consists of one in each model."""

from typing import TYPE_CHECKING

from bnfold.verifier.local.closeups.closeup import Place
from bnfold.verifier.models.graph import Structure
from bnfold.verifier.models.matching import Match

if TYPE_CHECKING:
    from onnx import NodeProto


def single_nodes(place: Place) -> "tuple[NodeProto, NodeProto] | None":
    """The original's node and the new one's; None where a site consists of more.

    None as well where the site's tensor is not the node's first output: one look is enough.
    """
    ours, theirs = varying(place.original, place.site.original), varying(place.new, place.site.new)
    single = len(ours) == len(theirs) == 1 and first_output(ours[0]) == place.site.tensor
    return (ours[0], theirs[0]) if single else None


def first_output(node: "NodeProto") -> str:
    """The name of the first output that is not left out."""
    return next(str(name) for name in node.output if name)


def varying(graph: Structure, nodes: tuple[int, ...]) -> "list[NodeProto]":
    """Those of a part that depend on the inputs of the model."""
    return [graph.nodes[index] for index in nodes if graph.nodes[index].output[0] not in graph.constants]


def same_inputs(place: Place, ours: "NodeProto", theirs: "NodeProto", but: tuple[int, ...] = ()) -> bool:
    """Whether two nodes read the same tensors, but for inputs of some numbers."""
    match = Match(place.original, place.new, place.site.boundary)
    length = max(len(ours.input), len(theirs.input))
    pairs = zip(_padded(ours, length), _padded(theirs, length), strict=True)
    return all(match.same_input(*pair) for number, pair in enumerate(pairs) if number not in but)


def _padded(node: "NodeProto", length: int) -> list[str]:
    """The inputs; "" for those that are left out at the end."""
    return [*node.input, *[""] * (length - len(node.input))]
