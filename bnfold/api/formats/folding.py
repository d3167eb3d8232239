"""One fold of one graph, as the options of the caller ask for it."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Literal, Protocol

from bnfold.api.options import FoldOptions
from bnfold.engine import fold_graph
from bnfold.outcome import LowerTo, Outcome
from bnfold.port import E, GraphPort, N, V


class ExcludingPort(GraphPort[N, V, E], Protocol[N, V, E]):
    """A graph that leaves nodes alone which the caller named by patterns."""

    @property
    def unmatched(self) -> Sequence[str]:
        """The patterns that match no node."""


def fold_as_asked(port: ExcludingPort[N, V, E], options: FoldOptions, *, lower: LowerTo | Literal[""]) -> Outcome:
    """Fold a graph in place.

    Args:
        port: the graph.
        options: which folds are wanted.
        lower: to what BatchNorms that stay are lowered; "" leaves them.
    """
    outcome = fold_graph(
        port,
        affine_nodes=options.affine,
        merge_branches=options.merge_branches,
        across=options.across,
        lower=lower or None,
    )
    return replace(outcome, unmatched=tuple(port.unmatched))
