"""Whether a part is a network of its own, in which rounding errors grow."""

from collections.abc import Sequence

from bnfold.verifier.models.changed import ChangedTensor
from bnfold.verifier.models.graph import Structure

_CONVOLUTIONS = ("Conv", "ConvTranspose", "ConvTransposeWithDynamicPads", "DeformConv")
_PRODUCTS = ("Einsum", "FusedMatMul", "Gemm", "LinearClassifier", "LinearRegressor", "MatMul", "TransposeMatMul")
_SUMMING = frozenset((*_CONVOLUTIONS, *_PRODUCTS, "GRU", "LSTM", "RNN"))
# A fold reaches over few of them. Where two models have no name in common in between, a part may be half of a network.
_DEEPEST = 3


def is_deep(changed: ChangedTensor, original: Structure, new: Structure) -> bool:
    """Whether many operators that sum products stand one behind the other in a part of a changed tensor."""
    return max(_depth(original, changed.original), _depth(new, changed.new)) > _DEEPEST


def _depth(graph: Structure, part: Sequence[int]) -> int:
    depths: dict[str, int] = {}
    for index in part:
        node = graph.nodes[index]
        if node.output[0] not in graph.constants:
            depth = max((depths.get(name, 0) for name in graph.reads(index)), default=0) + (node.op_type in _SUMMING)
            depths |= dict.fromkeys(node.output, depth)
    return max(depths.values(), default=0)
