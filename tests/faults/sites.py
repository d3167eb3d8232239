"""Where folds went: for every fold the operators that absorbed it, and what they ought to compute with.

The folded model says what bnfold wrote. The original's parameters say, by numpy alone, what is right. A site knows
both, and how the parameters would look if one of the maps on the way had been another.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import ml_dtypes
import onnx

from bnfold.outcome import Fold, Kept
from tests.faults.exact import Absorption, Exact, Side, explain
from tests.faults.graphs import Graphs, Node, twin
from tests.faults.layouts import Parameters, read
from tests.faults.maps import Statistics, data_slot, map_of, statistics

_AFFINE = ("BatchNormalization", "Mul", "Add", "Sub", "Div")


class Subject:
    """A model, its fold, and what the fold's report says.

    Args:
        original: the model.
        folded: what bnfold made of it.
        folds: those of the report.
        kept: those of the report.
    """

    def __init__(
        self, original: onnx.ModelProto, folded: onnx.ModelProto, folds: Sequence[Fold], kept: Sequence[Kept] = ()
    ) -> None:
        self.original, self.folded = Graphs(original), Graphs(folded)
        self.folds, self.kept = tuple(folds), tuple(kept)

    @cached_property
    def targets(self) -> list[Fold | Kept]:
        """Every fold, and every BatchNorm that stays, because a wrong fold may take that away."""
        return [*self.folds, *(entry for entry in self.kept if entry.is_batch_norm)]

    @cached_property
    def affine_nodes(self) -> dict[str, Node]:
        """The affine nodes of the original by label; none whose label another one shares."""
        return self._unique([node for node in self.original.nodes if node.proto.op_type in _AFFINE])

    def node_of(self, target: Fold | Kept) -> Node | None:
        """The affine node in the original."""
        return self.affine_nodes.get(target.node) or self.affine_nodes.get(_plain(target.node))

    @cached_property
    def batch_norms(self) -> list[Node]:
        return [node for node in self.original.nodes if node.proto.op_type == "BatchNormalization"]

    @cached_property
    def absorbed(self) -> dict[int, list[Absorption]]:
        """What each operator with weights took, in the order of the graph."""
        found: dict[int, list[Absorption]] = {}
        for fold in self.folds:
            node = self.node_of(fold)
            for label in fold.into if node else ():
                operator = self._operator(label)
                if operator is not None:
                    side: Side = "output" if operator.position < node.position else "input"
                    index = self.original.operators.index(operator)
                    found.setdefault(index, []).append(Absorption(fold, node, side))
        return {index: sorted(entries, key=lambda entry: entry.node.position) for index, entries in found.items()}

    def sites(self, fold: Fold) -> list["Site"]:
        """The operators that this package can read among those that absorbed a fold."""
        found = []
        for index, entries in self.absorbed.items():
            own = next((entry for entry in entries if entry.fold is fold), None)
            if own is None:
                continue
            operator = self.original.operators[index]
            other = twin(operator, self.folded, self.original)
            right = read(self.folded, other) if other else "no twin"
            if isinstance(right, Parameters):
                found.append(Site(self, index, operator, own, tuple(entries), right))
        return found

    def _operator(self, label: str) -> Node | None:
        """The operator that a report calls so: by name, or by a tensor that its output took over from a fold."""
        seen: set[str] = set()
        while label not in seen:
            seen.add(label)
            found = self._operators.get(label) or self._operators.get(_plain(label))
            if found is not None:
                return found
            behind = self._affine_outputs.get(label) or self._affine_outputs.get(_plain(label))
            if behind is None:
                return None
            made = behind.scope.find(behind.input(data_slot(self.original, behind)))
            if made is None or not isinstance(made[1], Node):
                return None
            label = made[1].label
            if made[1].proto.op_type in _AFFINE:
                label = made[1].proto.output[0]
        return None

    @cached_property
    def _operators(self) -> dict[str, Node]:
        return self._unique(self.original.operators)

    @cached_property
    def _affine_outputs(self) -> dict[str, Node]:
        return {node.proto.output[0]: node for node in self.original.nodes if node.proto.op_type in _AFFINE}

    @staticmethod
    def _unique(nodes: Sequence[Node]) -> dict[str, Node]:
        found: dict[str, Node] = {}
        twice = set()
        for node in nodes:
            if node.label in found:
                twice.add(node.label)
            found[node.label] = node
        return {label: node for label, node in found.items() if label not in twice}


@dataclass(frozen=True, eq=False)
class Site:
    """One fold into one operator, with all that went into the same operator.

    Attributes:
        index: of the operator among those with weights.
        operator: in the original.
        own: this fold.
        all: every fold into the operator, this one among them.
        right: the parameters in the folded model.
    """

    subject: Subject
    index: int
    operator: Node
    own: Absorption
    all: tuple[Absorption, ...]
    right: Parameters

    @property
    def side(self) -> Side:
        return self.own.side

    @property
    def label(self) -> str:
        return f"{self.own.fold.node} in {self.operator.label} ({self.operator.proto.op_type})"

    @property
    def channels(self) -> int:
        """How many channels the operator has where the fold went in."""
        return self.right.outputs if self.side == "output" else self.right.inputs

    @property
    def statistics(self) -> Statistics | None:
        """Those of the BatchNorm; None for another affine node."""
        if not self.own.fold.is_batch_norm:
            return None
        return statistics(self.subject.original, self.own.node)

    @cached_property
    def precision(self) -> float:
        """The rounding error of the type that holds the weight."""
        twin_node = self.subject.folded.operators[self.index]
        stored = self.subject.folded.constant(twin_node.scope, twin_node.input(1))
        return float(ml_dtypes.finfo(stored.dtype).eps)

    @cached_property
    def exact(self) -> Exact | None:
        """How the right parameters come about; None where this package cannot reproduce them."""
        graphs = self.subject.original
        before = read(graphs, self.operator)
        maps = [map_of(graphs, entry.node) for entry in self.all]
        if not isinstance(before, Parameters) or None in maps:
            return None
        # Where a map crosses a tensor that others read, those behind it take the inverse.
        inverse = [entry.fold.direction == "across" and entry.side == "input" for entry in self.all]
        maps = [given.inverse() if turned else given for given, turned in zip(maps, inverse, strict=True)]
        return explain(before, self.right, self.all, maps, self.all.index(self.own), self.precision)


def _plain(label: str) -> str:
    """A label without the ending that a fold gave the tensor which it is the name of."""
    return re.sub(r"_folded(_\d+)?$", "", label)
