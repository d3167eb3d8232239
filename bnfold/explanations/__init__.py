"""Every code of a refusal, explained for people. docs/refusals.md and `bnfold explain` are made of this."""

from collections.abc import Mapping

from bnfold.explanations import algebra, graph, nodes, operators, weights
from bnfold.explanations.explanation import Explanation
from bnfold.refusal import Reason

__all__ = ["EXPLANATIONS", "FAMILIES", "MAP", "Explanation"]

MAP = (
    "In inference a BatchNorm multiplies every channel by a scale and adds a shift: that is its map. To fold it is to "
    "move the map through the graph until operators with weights take it in."
)
"""What every explanation counts on."""

EXPLANATIONS: Mapping[Reason, Explanation] = {
    **nodes.EXPLANATIONS,
    **algebra.EXPLANATIONS,
    **graph.EXPLANATIONS,
    **weights.EXPLANATIONS,
    **operators.EXPLANATIONS,
}

FAMILIES: Mapping[str, str] = {
    "BNF0": "The node is not a constant affine map",
    "BNF1": "The algebra forbids the move",
    "BNF2": "The graph around forbids it",
    "BNF3": "The weights cannot take it",
    "BNF4": "An operator is not understood",
    "BNF5": "The check was against it",
}
"""Titles of the families of codes, by how their codes begin."""
