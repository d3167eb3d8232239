"""How many tensors are looked at in one run, so that memory stays within a budget."""

from collections.abc import Mapping, Sequence

from bnfold.verifier.models.changed import ChangedTensor
from bnfold.verifier.models.graph import Structure
from bnfold.verifier.run.inferred_shapes import inferred, sizes_in

# The tensor in both models on two samples, perturbed once, and in float64; each tensor of its boundary twice.
_COPIES, _COPIES_OF_BOUNDARY = 8, 2


def batches(
    tensors: Sequence[ChangedTensor], original: Structure, shapes: Mapping[str, Sequence[int]], budget: int
) -> list[list[ChangedTensor]]:
    """Changed tensors in groups that fit into the budget together; at least one group, each of at least one of them.

    Args:
        tensors: in the order of the graph.
        original: the model.
        shapes: of its inputs.
        budget: in bytes.
    """
    graph = inferred(original.model.proto, shapes) if tensors else None
    sizes = {} if graph is None else sizes_in(graph)
    unknown = max(sizes.values(), default=0)
    groups: list[list[ChangedTensor]] = [[]]
    used = 0
    for changed in tensors:
        needed = _COPIES * sizes.get(changed.name, unknown)
        needed += _COPIES_OF_BOUNDARY * sum(sizes.get(name, unknown) for name in changed.boundary)
        if groups[-1] and used + needed > budget:
            groups.append([])
            used = 0
        groups[-1].append(changed)
        used += needed
    return groups
