"""What recurrent operators make of numbers before the gates: X W^T + Wb + Rb, H R^T, and C * P.

LSTM, GRU and RNN read their input and their states in no other way (ONNX LSTM-1 to -22, GRU-1 to -22, RNN-1 to -22).
Gates saturate, and hide what is wrong; products do not.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from bnfold.verifier.compare.channels import Array
from bnfold.verifier.local.inside import Inside, Place, feeds_of, first_output, varying
from bnfold.verifier.models.graph import Structure, is_standard
from bnfold.verifier.models.matching import attributes
from bnfold.verifier.models.subgraph import Subgraph

if TYPE_CHECKING:
    from onnx import NodeProto, TensorProto

_RECURRENT = ("LSTM", "GRU", "RNN")
_INPUT, _WEIGHT, _RECURRENCE, _BIAS, _PEEPHOLES = 0, 1, 2, 3, 7
_PARAMETERS = (_WEIGHT, _RECURRENCE, _BIAS, _PEEPHOLES)
# Of states: values that reach every weight often enough to tell what is systematic.
_ROWS = 64


def inside_recurrent(place: Place) -> list[Inside] | None:
    """The products in a recurrent operator, where nothing but parameters and the input differs."""
    ours, theirs = (
        _Cell.of(place.original, place.changed.original, place),
        _Cell.of(place.new, place.changed.new, place),
    )
    if ours is None or theirs is None or not _alike(place, ours, theirs) or place.held([place.changed.name]):
        return None
    # Biases that add up may have changed places, as long as they give one sum.
    both = ours.adds_biases and not np.array_equal(ours.biases[1], theirs.biases[1])
    found = []
    for a, b in zip(ours.products(with_both=both), theirs.products(with_both=both), strict=True):
        feeds = feeds_of(a.subgraph.open, b.subgraph.open, {**place.values, **a.states})
        if feeds is None:
            return None
        outputs = [place.changed.name]
        models = [part.subgraph.model(feeds, outputs) for part in (a, b)]
        found.append(Inside(models[0], models[1], feeds, place.held(feeds)))
    return found


def _alike(place: Place, ours: "_Cell", theirs: "_Cell") -> bool:
    return (
        ours.node.op_type == theirs.node.op_type
        and attributes(ours.node) == attributes(theirs.node)
        and ours.shapes == theirs.shapes
        and place.same_inputs(ours.node, theirs.node, but=(_INPUT, *_PARAMETERS))
    )


@dataclass(frozen=True)
class _Product:
    """One of the products, under the name of the operator's own output, and values for the state that it reads."""

    subgraph: Subgraph
    states: Mapping[str, Array]


class _Cell:
    """A recurrent operator at the end of a part, with all that stands before it."""

    def __init__(self, graph: Structure, before: "list[NodeProto]", node: "NodeProto") -> None:
        self._graph, self._before, self.node = graph, before, node
        self._name = first_output(node)

    @classmethod
    def of(cls, graph: Structure, part: tuple[int, ...], place: Place) -> "_Cell | None":
        """The operator that makes a changed tensor; None where it is none, or its parameters are not stored."""
        node = graph.nodes[graph.producers[place.changed.name]]
        if node.op_type not in _RECURRENT or not is_standard(node) or first_output(node) != place.changed.name:
            return None
        given = [name for number, name in enumerate(node.input) if number in _PARAMETERS and name]
        if any(graph.parameter(name) is None for name in given):
            return None
        return cls(graph, [other for other in varying(graph, part) if other is not node], node)

    def _parameter(self, number: int) -> Array | None:
        """One of the operator's inputs that are stored; None where it is left out."""
        name = self.node.input[number] if len(self.node.input) > number else ""
        return self._graph.array(name) if name else None

    def _stored(self, number: int) -> Array:
        """One that is never left out."""
        return self._graph.array(self.node.input[number])

    @property
    def shapes(self) -> list[tuple[int, ...]]:
        """Of the weights that the states meet, () where there are none."""
        arrays = (self._parameter(number) for number in (_RECURRENCE, _PEEPHOLES))
        return [() if values is None else values.shape for values in arrays]

    @property
    def biases(self) -> tuple[Array, Array]:
        """Of the input and of the state, (directions, gates * hidden) each."""
        bias, weight = self._parameter(_BIAS), self._stored(_WEIGHT)
        both = np.zeros((len(weight), 2 * weight.shape[1]), weight.dtype) if bias is None else bias
        of_input, of_state = np.split(both, 2, axis=1)
        return of_input, of_state

    @property
    def adds_biases(self) -> bool:
        """Whether Wb and Rb do nothing but add up. A GRU may reset what Rb was added to."""
        return not any(entry.name == "linear_before_reset" and entry.i for entry in self.node.attribute)

    def products(self, *, with_both: bool) -> Iterator[_Product]:
        """What the input is multiplied with, and what the states are.

        Args:
            with_both: whether the bias of the state is added to the first product, and not to the second.
        """
        weight, recurrence = self._stored(_WEIGHT), self._stored(_RECURRENCE)
        of_input, of_state = ([*self.biases], []) if with_both else ([bias] for bias in self.biases)
        yield _Product(self._contraction(self.node.input[_INPUT], weight, of_input, self._before), {})
        state = f"{self._name}!state"
        values = np.zeros((_ROWS, recurrence.shape[-1]), recurrence.dtype)
        yield _Product(self._contraction(state, recurrence, of_state), {state: values})
        peepholes = self._parameter(_PEEPHOLES)
        if peepholes is not None:
            values = np.zeros((_ROWS, peepholes.size), peepholes.dtype)
            yield _Product(self._scaling(state, peepholes), {state: values})

    def _contraction(
        self, source: str, weight: Array, biases: list[Array], before: "Iterable[NodeProto]" = ()
    ) -> Subgraph:
        """Rows of a tensor times the weights of all gates and directions, and the sum of the biases."""
        from onnx import helper

        tensors = [_tensor(weight.reshape(-1, weight.shape[-1]).T, f"{self._name}!weight")]
        tensors += [_tensor(bias.reshape(-1), f"{self._name}!bias {number}") for number, bias in enumerate(biases)]
        names = [tensor.name for tensor in tensors]
        # Of one name, these would have to be equal in both models.
        product, total = (f"{self._name}!{what} in {self._graph.model.role}" for what in ("product", "bias"))
        nodes = [*before, helper.make_node("MatMul", [source, names[0]], [product if biases else self._name])]
        if len(biases) > 1:
            nodes.append(helper.make_node("Add", names[1:], [total]))
        if biases:
            nodes.append(helper.make_node("Add", [product, total if len(biases) > 1 else names[1]], [self._name]))
        return Subgraph(self._graph, nodes, tensors)

    def _scaling(self, source: str, peepholes: Array) -> Subgraph:
        from onnx import helper

        tensor = _tensor(peepholes.reshape(-1), f"{self._name}!peepholes")
        return Subgraph(self._graph, [helper.make_node("Mul", [source, tensor.name], [self._name])], [tensor])


def _tensor(values: Array, name: str) -> "TensorProto":
    from onnx import numpy_helper

    return numpy_helper.from_array(np.ascontiguousarray(values), name)
