"""Which tensors of two models stand in one place, though their names differ.

A fold gives a tensor another name where it comes to hold other values. The operators of both graphs are put side by
side, in their order: what two of them make stands in one place, if none of it has a name that both models have.
"""

from collections.abc import Collection, Hashable, Iterator, Set
from typing import TYPE_CHECKING

import numpy as np

from bnfold.intake.tensor_names import rename_tensors, tensor_names
from bnfold.verifier.models.changed import common_tensors
from bnfold.verifier.models.graph import Structure
from bnfold.verifier.models.load import Model
from bnfold.verifier.models.matching import Match, attributes
from bnfold.verifier.models.precision import coarsest_float
from bnfold.verifier.models.side_by_side import side_by_side

if TYPE_CHECKING:
    from onnx import NodeProto

_PRECISE = (np.float32, np.float64)
_OF_SEQUENCES = ("SequenceConstruct", "SequenceErase", "SequenceInsert", "SplitToSequence")
_AFFINE = frozenset(("Add", "BatchNormalization", "Div", "Flatten", "Identity", "Mul", "Neg", "Reshape", "Squeeze"))
_AFFINE |= {"Sub", "Sum", "Transpose", "Unsqueeze"}
_WEIGHTS = 2
"""So many inputs tell operators apart: a third one is a bias, which a fold may have added."""


def with_names_of_original(new: Model, original: Structure, unlike: Collection[str]) -> Structure:
    """The graph of the new model, whose tensors are called what those are in whose place they stand.

    What they hold has to be found out, and where it is nothing like what the original does, they should have kept their
    own names. In half precision all of them do: what was rounded to so few digits says nothing of single numbers.

    Args:
        new: the new model; its names are changed in place.
        original: the original.
        unlike: names that no tensor of the new model is to get.
    """
    graph = Structure(new)
    if coarsest_float(original.model) not in _PRECISE:
        return graph
    names = {after: name for after, name in names_in_original(original, graph).items() if name not in unlike}
    if not names:
        return graph
    rename_tensors(new.proto.graph, names)
    others = _made_otherwise(Structure(new, dict.fromkeys(names.values())), original)
    own = {name: after for after, name in names.items() if name in others and _goes_on(graph, after)}
    own |= {name: after for after, name in names.items() if name in others and _goes_on(original, name)}
    rename_tensors(new.proto.graph, own)
    return Structure(new, dict.fromkeys(name for name in names.values() if name in others and name not in own))


def _made_otherwise(new: Structure, original: Structure) -> set[str]:
    """Of tensors that may hold other values, those that are not made by the same node of the same tensors."""
    match = Match(original, new, common_tensors(original, new))
    for name in [name for name in original.producers if name in new.held]:
        del new.held[name]
        if not match.made_alike(name):
            new.held[name] = None
    return set(new.held)


def names_in_original(original: Structure, new: Structure) -> dict[str, str]:
    """What tensors of the new model are called in the original, if they stand where tensors of other names do.

    A sequence of tensors is left out: it holds what no single map says.
    """
    ours, theirs = _single(original, new), _single(new, original)
    if not ours or not theirs:
        return {}
    rows = [list(_rows(graph, single)) for graph, single in ((original, ours), (new, theirs))]
    names: dict[str, str] = {}
    for a, b in side_by_side(*([label for label, _ in side] for side in rows)):
        made = zip(rows[0][a][1].output, rows[1][b][1].output, strict=False)
        names |= {after: before for before, after in made if before in ours and after in theirs}
    return names


def _single(graph: Structure, other: Structure) -> set[str]:
    """The tensors that depend on the inputs, are no outputs, and have no name that the other model has as well."""
    outputs = {entry.name for entry in graph.model.proto.graph.output}
    sequences = {name for name, index in graph.producers.items() if graph.nodes[index].op_type in _OF_SEQUENCES}
    return graph.producers.keys() - graph.constants - outputs - sequences - set(tensor_names(other.model.proto.graph))


def _goes_on(graph: Structure, tensor: str) -> bool:
    """Whether one node alone reads a tensor, and only adds numbers to it, scales it or arranges it in another way.

    What a fold has rounded in front of such a node and behind it belongs together.
    """
    readers = graph.readers(tensor)
    if len(readers) != 1 or graph.nodes[readers[0]].op_type not in _AFFINE:
        return False
    return all(name == tensor or name in graph.constants for name in graph.reads(readers[0]))


def _rows(graph: Structure, single: Set[str]) -> "Iterator[tuple[Hashable, NodeProto]]":
    """Every node that depends on the inputs, and what it has in common with the one in its place."""
    for node in graph.nodes:
        made = [name for name in node.output if name and name not in graph.constants]
        if made:
            yield _like(graph, node) if single >= set(made) else tuple(made), node


def _like(graph: Structure, node: "NodeProto") -> Hashable:
    stored = (graph.parameter(name) for name in node.input[:_WEIGHTS])
    shapes = tuple(None if tensor is None else tuple(tensor.dims) for tensor in stored)
    return node.domain, node.op_type, tuple(attributes(node)), shapes, len(node.output)
