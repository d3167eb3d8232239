"""How many sites are looked at in one run, so that memory stays within a budget."""

from collections.abc import Mapping, Sequence

from bnfold.verifier.models.changed import Site
from bnfold.verifier.models.graph import Structure
from bnfold.verifier.run.sizes import inferred, sizes_in

# A tensor of the site in both models on two samples, moved once, and cut out thrice; each tensor of its boundary twice.
_COPIES, _COPIES_OF_BOUNDARY = 8, 2


def batches(
    sites: Sequence[Site], original: Structure, shapes: Mapping[str, Sequence[int]], budget: int
) -> list[list[Site]]:
    """Sites in groups whose tensors fit into the budget together; at least one group, each of at least one site.

    Args:
        sites: in the order of the graph.
        original: the model.
        shapes: of its inputs.
        budget: in bytes.
    """
    graph = inferred(original.model.proto, shapes) if sites else None
    sizes = {} if graph is None else sizes_in(graph)
    unknown = max(sizes.values(), default=0)
    groups: list[list[Site]] = [[]]
    used = 0
    for site in sites:
        needed = _COPIES * sizes.get(site.tensor, unknown)
        needed += _COPIES_OF_BOUNDARY * sum(sizes.get(name, unknown) for name in site.boundary)
        if groups[-1] and used + needed > budget:
            groups.append([])
            used = 0
        groups[-1].append(site)
        used += needed
    return groups
