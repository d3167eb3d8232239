"""What recurrent operators make of their input before the gates: X W^T + Wb.

LSTM, GRU and RNN read their input in no other way (ONNX LSTM-1 to -22, GRU-1 to -22, RNN-1 to -22). Gates saturate, and
hide what is wrong; a matrix product does not.
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from bnfold.judge.channels import Array
from bnfold.judge.closeups.closeup import Closeup, Place, feeds_of
from bnfold.judge.closeups.extract import Extract
from bnfold.judge.closeups.nodes import first_output, same_inputs, varying
from bnfold.judge.matching import attributes
from bnfold.judge.structure import Structure, is_standard

if TYPE_CHECKING:
    from onnx import NodeProto, TensorProto

_RECURRENT = ("LSTM", "GRU", "RNN")
_INPUT, _WEIGHT, _BIAS = 0, 1, 3


def closeups_of_recurrent(place: Place) -> Iterator[Closeup]:
    """Of the input of a recurrent operator, where nothing else in it differs."""
    ours, theirs = _Cell.of(place.original, place.site.original, place), _Cell.of(place.new, place.site.new, place)
    if ours is None or theirs is None or not _alike(place, ours, theirs):
        return
    a, b = ours.before_the_gates(), theirs.before_the_gates()
    feeds = feeds_of(a.open, b.open, place.values)
    if feeds is not None:
        outputs = [place.site.tensor]
        yield Closeup(a.model(feeds, outputs), b.model(feeds, outputs), feeds)


def _alike(place: Place, ours: "_Cell", theirs: "_Cell") -> bool:
    return (
        ours.node.op_type == theirs.node.op_type
        and attributes(ours.node) == attributes(theirs.node)
        and same_inputs(place, ours.node, theirs.node, but=(_INPUT, _WEIGHT, _BIAS))
        and bool(np.array_equal(ours.bias[1], theirs.bias[1]))
    )


class _Cell:
    """A recurrent operator at the end of a part, with all that stands before it."""

    def __init__(self, graph: Structure, before: "list[NodeProto]", node: "NodeProto") -> None:
        self._graph, self._before, self.node = graph, before, node

    @classmethod
    def of(cls, graph: Structure, part: tuple[int, ...], place: Place) -> "_Cell | None":
        """The operator that makes a site's tensor; None where it is none, or its weights are not stored."""
        node = graph.nodes[graph.producers[place.site.tensor]]
        if node.op_type not in _RECURRENT or not is_standard(node) or first_output(node) != place.site.tensor:
            return None
        stored = [name for number, name in enumerate(node.input) if number in (_WEIGHT, _BIAS) and name]
        if any(graph.parameter(name) is None for name in stored):
            return None
        return cls(graph, [other for other in varying(graph, part) if other is not node], node)

    @property
    def weight(self) -> Array:
        """Of the input, (directions, gates * hidden, features)."""
        return self._graph.array(self.node.input[_WEIGHT])

    @property
    def bias(self) -> tuple[Array, Array]:
        """Of the input and of the state, (directions, gates * hidden) each."""
        if len(self.node.input) > _BIAS and self.node.input[_BIAS]:
            first, second = np.split(self._graph.array(self.node.input[_BIAS]), 2, axis=1)
            return first, second
        zeros = np.zeros(self.weight.shape[:2], self.weight.dtype)
        return zeros, zeros

    def before_the_gates(self) -> Extract:
        """What the operator makes of its input, (steps, batch, directions * gates * hidden), under its own name."""
        from onnx import helper

        name = first_output(self.node)
        weight, bias = f"{name}!weight", f"{name}!bias"
        product = f"{name}!product in {self._graph.model.role}"  # of one name, both would have to be equal
        nodes = [
            *self._before,
            helper.make_node("MatMul", [self.node.input[_INPUT], weight], [product]),
            helper.make_node("Add", [product, bias], [name]),
        ]
        features = self.weight.shape[-1]
        tensors = [
            _tensor(self.weight.reshape(-1, features).T, weight),
            _tensor(self.bias[0].reshape(-1), bias),
        ]
        return Extract(self._graph, nodes, tensors)


def _tensor(values: Array, name: str) -> "TensorProto":
    from onnx import numpy_helper

    return numpy_helper.from_array(np.ascontiguousarray(values), name)
