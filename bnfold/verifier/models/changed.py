"""Where two models part: every tensor that both have and that something else makes in the second.

A tensor that one node makes out of the same tensors with the same parameters in both models needs no look of its own:
it is equal where those are. What is left are the places where something was changed, and for each the part of either
graph that lies between it and the tensors before it that both models have.
"""

from collections.abc import Collection, Iterable, Iterator, Set
from dataclasses import dataclass

from bnfold.intake.walk import bodies
from bnfold.verifier.models.graph import Structure, is_standard
from bnfold.verifier.models.matching import Match


@dataclass(frozen=True)
class ChangedTensor:
    """One tensor that two models make in different ways.

    Attributes:
        name: in both.
        original: indices of the original's nodes that make it out of the boundary.
        new: the same of the new model.
        boundary: names of the tensors before it that both models have and that either part reads.
    """

    name: str
    original: tuple[int, ...]
    new: tuple[int, ...]
    boundary: tuple[str, ...]


def find_changed_tensors(original: Structure, new: Structure, reused: Collection[str] = ()) -> list[ChangedTensor]:
    """Every changed tensor, in the order of the original; `reused` names mean other tensors in the new model."""
    common = common_tensors(original, new).difference(reused)
    match = Match(original, new, common)
    free = _free(common, original, new)
    return [
        _changed_tensor(original, new, free, tensor)
        for tensor in original.producers
        if tensor in common and not match.made_alike(tensor)
    ]


def cut_without(unlike: Collection[str], original: Structure, new: Structure, tensor: str) -> ChangedTensor:
    """A changed tensor whose parts begin with none of `unlike`: names that both models have, of unlike tensors."""
    return _changed_tensor(original, new, _free(common_tensors(original, new), original, new) - set(unlike), tensor)


def _free(common: Set[str], original: Structure, new: Structure) -> Set[str]:
    """The tensors that a part may begin with, whatever values they take."""
    return common - _weights_of_sums(original) - _weights_of_sums(new)


def common_tensors(original: Structure, new: Structure) -> set[str]:
    """The tensors that depend on the inputs and have one name in both models."""
    made = original.producers.keys() & new.producers.keys()
    return (made - original.constants - new.constants) | (original.inputs & new.inputs)


def _weights_of_sums(graph: Structure) -> set[str]:
    """What a softmax makes and a product reads: its rows sum to 1, so that no part may begin there with any values.

    What adds a number to all that such a row weighs adds it to the result.
    """
    softmaxes = {node.output[0] for node in graph.nodes if node.op_type == "Softmax" and is_standard(node)}
    read = {node.input[0] for node in graph.nodes if node.op_type == "MatMul" and is_standard(node)}
    return softmaxes & read


def _changed_tensor(original: Structure, new: Structure, free: Set[str], tensor: str) -> ChangedTensor:
    """Walk back on both sides to tensors that both have, as near as possible, and may begin with any values."""
    passed = {tensor}  # and not a set of stops of its own: a graph has thousands of tensors
    while True:
        ours, before = _part(original, tensor, free, passed)
        theirs, behind = _part(new, tensor, free, passed)
        # One side only begins there: the other side has it inside, or does without it. Both have to begin earlier.
        uneven = {name for name in before ^ behind if name in original.producers and name in new.producers}
        # Where that is an input, what both begin with and what is made of it may not take any values beside it.
        alone = (before ^ behind) & original.inputs
        if alone and not uneven:
            common = (name for name in before & behind if name in original.producers)
            uneven = {name for name in common if not alone.isdisjoint(_part(original, name)[1])}
        if not uneven:
            return ChangedTensor(tensor, ours, theirs, tuple(sorted(before | behind)))
        passed |= uneven


def _part(
    graph: Structure, tensor: str, stops: Set[str] = frozenset(), passed: Set[str] = frozenset()
) -> tuple[tuple[int, ...], set[str]]:
    """The nodes that make a tensor out of those to stop at, in order, and which of them they read.

    Args:
        graph: that they are in.
        tensor: its name.
        stops: where to stop, and at the inputs in any case.
        passed: where not to stop all the same.
    """
    nodes: set[int] = set()
    boundary: set[str] = set()
    waiting = [tensor]
    while waiting:
        name = waiting.pop()
        if (name in stops and name not in passed) or name in graph.inputs:
            boundary.add(name)
        elif name in graph.producers and graph.producers[name] not in nodes:
            nodes.add(graph.producers[name])
            waiting += graph.reads(graph.producers[name])
    return tuple(sorted(nodes)), boundary


def nodes_behind(graph: Structure, tensor: str) -> tuple[int, ...]:
    """The nodes that make a tensor out of the inputs, in order."""
    return _part(graph, tensor)[0]


def made_inside(changed: ChangedTensor, original: Structure, new: Structure) -> frozenset[str]:
    """Names of all that the original makes on the way to a tensor, in bodies and in functions called there as well.

    Where it begins or ends at tensors that hold other values, what nodes made that are gone for it, too.
    """
    names: set[str] = set()
    waiting = [original.nodes[index] for index in changed.original]
    called: set[tuple[str, str]] = set()
    while waiting:
        node = waiting.pop()
        names |= set(node.output)
        waiting += [inner for body in bodies(node) for inner in body.node]
        function = original.function(node)
        if function is not None and (function.domain, function.name) not in called:
            called.add((function.domain, function.name))
            waiting += function.node
    return frozenset(names).union(_gone_around((changed.name, *changed.boundary), original, new))


def _gone_around(tensors: Iterable[str], original: Structure, new: Structure) -> Iterator[str]:
    """What the new model has no more next to tensors that hold other values, and to all those around them."""
    waiting = [name for name in tensors if name in new.held]
    seen = set(waiting)
    while waiting:
        name = waiting.pop()
        for near in original.neighbours(name):
            if near in new.held and near not in seen:
                seen.add(near)
                waiting.append(near)
            elif near in original.producers and near not in new.producers:
                yield near
