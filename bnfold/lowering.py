"""What stays of BatchNorms, rewritten into operators that a device without BatchNorm has.

Nothing here decides whether a BatchNorm folds: it is asked only about those that do not. Folding goes on behind it, so
that a second run finds nothing to do.
"""

from collections.abc import Sequence, Set
from dataclasses import dataclass, replace
from typing import Generic

from bnfold import rules
from bnfold.crossing import Crossing, Way
from bnfold.label import Label
from bnfold.meanings import Meanings
from bnfold.outcome import Kept, Lowered, LowerTo
from bnfold.port import E, GraphPort, N, V, result_of
from bnfold.refusal import Refusal
from bnfold.semantics import AffineMap, Meaning

# Of the tensor, the batch and the channels included: convolutions have one to three axes of places.
_RANKS_OF_CONVOLUTIONS = (3, 4, 5)
# Of float64, for which onnxruntime has BatchNormalization, Mul and Add, but no Conv.
_WITHOUT_CONVOLUTIONS = 53


@dataclass(frozen=True)
class _Written(Generic[N]):
    """What stands for a BatchNorm.

    Attributes:
        lowered: what there is to say, but for what the operators are in the end.
        nodes: the operators.
    """

    lowered: Lowered
    nodes: Sequence[N]


class Lowering(Generic[N, V, E]):
    """Rewrites BatchNorms of one graph, and remembers into what.

    Args:
        port: the graph; it is changed in place.
        meanings: what its nodes mean.
        form: what to rewrite them into.
        crossing: of the same graph; it finds where a scale can go.
    """

    def __init__(
        self, port: GraphPort[N, V, E], meanings: Meanings[N, V, E], form: LowerTo, crossing: Crossing[N, V, E]
    ) -> None:
        self._port = port
        self._meaning = meanings
        self._form = form
        self._crossing = crossing
        self._written: dict[N, _Written[N]] = {}

    def lower(self, kept: Kept, node: N) -> Kept | None:
        """Rewrite one BatchNorm, if it is an affine map.

        Args:
            kept: why it stays.
            node: the BatchNorm.

        Returns:
            None where it is rewritten; else why it stays, and why it is not rewritten.
        """
        meaning = self._meaning(node)
        if not isinstance(meaning, AffineMap) or self._port.why_it_stays(node) is not None:
            return kept
        made = result_of(self._port, node).name
        if self._form == "add":
            found = self._leave_addition(node, meaning)
        else:
            found = self._replace(node, self._parts(node, meaning))
        if isinstance(found, Refusal):
            return replace(kept, not_lowered=found)
        nodes, into = found
        self._written[node] = _Written(Lowered(kept.node, kept.op, made, (), kept.refusals, into), nodes)
        return None

    def result(self, node: N, left: Set[N]) -> Lowered | None:
        """What became of a node, if it was rewritten.

        Args:
            node: as it was given to `lower`.
            left: the nodes that are still there.
        """
        written = self._written.get(node)
        if written is None:
            return None
        return replace(written.lowered, operators=tuple(other.op for other in written.nodes if other in left))

    def _parts(self, node: N, meaning: AffineMap) -> Sequence[Meaning] | Refusal:
        is_place_wise = meaning.affine.rank in _RANKS_OF_CONVOLUTIONS
        if self._form == "conv" and is_place_wise and self._port.significand(node) != _WITHOUT_CONVOLUTIONS:
            convolution = rules.lower_to_convolution(meaning)
            return convolution if isinstance(convolution, Refusal) else (convolution,)
        return rules.lower_to_arithmetic(meaning)

    def _replace(self, node: N, parts: Sequence[Meaning] | Refusal) -> tuple[Sequence[N], tuple[str, ...]] | Refusal:
        edit = parts if isinstance(parts, Refusal) else self._port.encode_lowered(node, parts)
        if isinstance(edit, Refusal):
            return edit.along(Label(node.label, node.op))
        nodes = self._port.lower(edit)
        self._meaning.forget()
        return nodes, ()

    def _leave_addition(self, node: N, meaning: AffineMap) -> tuple[Sequence[N], tuple[str, ...]] | Refusal:
        way = self._crossing.find_addition(node, meaning)
        if isinstance(way, Refusal):
            return way
        edit = self._port.encode_lowered(node, (rules.lower_to_addition(way.left, *way.halves),))
        if isinstance(edit, Refusal):
            return edit.along(Label(node.label, node.op))
        into = tuple(Label(other.label, other.op) for other in {**way.pulled.meanings, **way.region.meanings})
        return self._carry_out(way, edit), into

    def _carry_out(self, way: Way[N, V, E], edit: E) -> Sequence[N]:
        nodes: list[N] = []

        def replace_origin() -> None:
            nodes.extend(self._port.lower(edit))

        self._crossing.carry_out(way, replace_origin)
        return nodes
