"""Writes wrong parameters into a copy of the folded model, and tells whether anything real has changed."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import ml_dtypes
import numpy as np
import onnx
from onnx import helper, numpy_helper

from tests.faults.graphs import Graphs, Node
from tests.faults.layouts import Parameters, bias_place, read, stored_bias, stored_weight

# A number that moves by less is no fault, but rounding: units in the last place.
_ROUNDING = 8
_ONE_ROUNDING = 0.55
_RECURRENT = ("GRU", "LSTM", "RNN")


@dataclass(frozen=True, eq=False)
class Wrong:
    """What a fault does to a folded model.

    Attributes:
        parameters: the wrong ones, by the operator's index among those with weights.
        what: one line that says what was done.
        bypassed: index of an operator that shall read what the node in front of it reads, instead of that node.
        dead: channels of the operators' side that compute nothing, so that a change there alone is no fault.
        inputs: wrong values of stored inputs, by the node's place among all and the number of the input.
    """

    parameters: Mapping[int, Parameters]
    what: str
    bypassed: int | None = None
    dead: "Dead | None" = None
    inputs: Mapping[tuple[int, int], np.ndarray] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Dead:
    """Channels whose folded scale and shift are both exactly 0, at an operator's output or input."""

    side: str
    channels: np.ndarray


@dataclass(frozen=True)
class NotHere:
    """This kind of fault cannot happen at this fold."""

    reason: str


@dataclass(frozen=True)
class NoFault:
    """The mutation would leave the model as right as it was."""

    reason: str


def written(folded: onnx.ModelProto, wrong: Wrong) -> onnx.ModelProto | NoFault | NotHere:
    """A copy of the folded model with the wrong parameters in it."""
    model = onnx.ModelProto()
    model.CopyFrom(folded)
    real = False
    for index, parameters in wrong.parameters.items():
        graphs = Graphs(model)
        answer = _write(graphs, graphs.operators[index], parameters, wrong.dead)
        if isinstance(answer, NotHere):
            return answer
        real = real or answer
    for (position, slot), values in wrong.inputs.items():
        graphs = Graphs(model)
        real = _write_input(graphs, graphs.nodes[position], slot, values) or real
    if wrong.bypassed is not None:
        _bypass(Graphs(model), wrong.bypassed)
        real = True
    _drop_unread(model, folded)
    return model if real else NoFault(f"{wrong.what}: no stored number moves by more than rounding")


def _write(graphs: Graphs, node: Node, wrong: Parameters, dead: Dead | None) -> bool | NotHere:
    """Write what moves by more than rounding; whether a channel that computes something did."""
    right = read(graphs, node)
    assert isinstance(right, Parameters), right
    place = bias_place(graphs, node)
    weight = graphs.constant(node.scope, node.input(1))
    bias = None if place is None else graphs.constant(place[0].scope, place[0].input(place[1]))
    recurrent = node.proto.op_type in _RECURRENT
    new_weight = _Rounding(weight.dtype, recurrent=recurrent)(wrong.weight, right.weight)
    new_bias = _Rounding(weight.dtype if bias is None else bias.dtype, recurrent=recurrent)(
        wrong.full_bias, right.full_bias
    )
    if not (np.isfinite(new_weight).all() and np.isfinite(new_bias).all()):
        return NotHere("the wrong parameters would not be finite")
    weight_moved, bias_moved = new_weight != right.weight, new_bias != right.full_bias
    if np.any(weight_moved):
        _store(graphs, node, 1, stored_weight(node, new_weight).astype(weight.dtype).reshape(weight.shape))
    if np.any(bias_moved):
        dtype = weight.dtype if bias is None else bias.dtype
        values = stored_bias(node, new_bias, bias).astype(dtype)
        if place is None and node.proto.op_type == "MatMul":
            return NotHere("a MatMul has no bias to be wrong")
        if place is not None and wrong.bias is None and node.proto.op_type in ("Conv", "ConvTranspose"):
            del node.proto.input[2:]
        else:
            _store(graphs, *(place or (node, 3 if recurrent else 2)), values)
    return _touches_live(weight_moved, bias_moved, dead)


def _write_input(graphs: Graphs, node: Node, slot: int, wrong: np.ndarray) -> bool:
    """Write what moves by more than rounding; whether something did."""
    held = graphs.constant(node.scope, node.input(slot))
    assert held is not None, (node.label, slot)
    old = held.astype(np.float64)
    new = _Rounding(held.dtype, recurrent=node.proto.op_type in _RECURRENT)(wrong, old)
    if np.any(new != old):
        _store(graphs, node, slot, new.astype(held.dtype).reshape(held.shape))
    return bool(np.any(new != old))


class _Rounding:
    """Rounds to a type, and keeps the old number where the new one differs by rounding alone.

    Args:
        dtype: of the stored numbers.
        recurrent: whether an LSTM, GRU or RNN holds them. Nothing outside can read one of its weights by itself: of
            half precision, only what is off by more than a unit can show.
    """

    def __init__(self, dtype: np.dtype, *, recurrent: bool) -> None:
        self._dtype = dtype
        self._one_rounding = 1.5 if recurrent else _ONE_ROUNDING
        self._slack = _ROUNDING * float(ml_dtypes.finfo(dtype).eps)

    def __call__(self, new: np.ndarray, old: np.ndarray) -> np.ndarray:
        with np.errstate(over="ignore"):
            stored = new.astype(self._dtype).astype(np.float64)
        if self._dtype.itemsize == 2:
            # What may as well have been rounded to the old number is no fault: half a unit, and a little.
            return np.where(np.abs(new - old) <= self._one_rounding * _unit(old, self._dtype), old, stored)
        return np.where(np.abs(stored - old) <= self._slack * np.abs(old), old, stored)


def _unit(values: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """The distance between neighbouring numbers of a type, at each value."""
    limits = ml_dtypes.finfo(dtype)
    magnitude = np.maximum(np.abs(values), float(limits.smallest_normal))
    return np.exp2(np.floor(np.log2(magnitude))) * float(limits.eps)


def _touches_live(weight_moved: np.ndarray, bias_moved: np.ndarray, dead: Dead | None) -> bool:
    if dead is None:
        return bool(np.any(weight_moved) or np.any(bias_moved))
    others = tuple(axis for axis in range(2, weight_moved.ndim))
    if dead.side == "output":
        touched = weight_moved.any(axis=others).reshape(-1) | bias_moved
        return bool(np.any(touched & ~dead.channels))
    touched = weight_moved.any(axis=(1, *others[1:])).reshape(-1)
    return bool(np.any(touched & ~dead.channels) or np.any(bias_moved))


def _store(graphs: Graphs, node: Node, slot: int, values: np.ndarray) -> None:
    """In the tensor's own place where one node alone reads it, else in a Constant node of the operator's own."""
    name = node.input(slot)
    found = node.scope.find(name) if name else None
    if found is not None and len(graphs.uses(node, slot)) == 1:
        source = found[1]
        if isinstance(source, onnx.TensorProto):
            source.CopyFrom(numpy_helper.from_array(values, name))
            return
        if source.proto.op_type == "Constant":
            del source.proto.attribute[:]
            source.proto.attribute.append(helper.make_attribute("value", numpy_helper.from_array(values, name)))
            return
    fresh = graphs.fresh_name("fault")
    while len(node.proto.input) <= slot:
        node.proto.input.append("")
    node.proto.input[slot] = fresh
    constant = helper.make_node("Constant", [], [fresh], value=numpy_helper.from_array(values, fresh))
    node.scope.graph.node.insert(0, constant)


def _drop_unread(model: onnx.ModelProto, folded: onnx.ModelProto) -> None:
    """Remove the initializers that the fault alone has left without a reader; onnxruntime warns of them."""
    doomed = _read_names(folded) - _read_names(model)
    for entries in (model.graph.initializer, model.graph.input):
        for position in reversed(range(len(entries))):
            name = entries[position].name
            if name in doomed and any(tensor.name == name for tensor in folded.graph.initializer):
                del entries[position]


def _read_names(model: onnx.ModelProto) -> set[str]:
    return {name for node in Graphs(model).nodes for name in node.proto.input}


def _bypass(graphs: Graphs, index: int) -> None:
    node = graphs.operators[index]
    found = node.scope.find(node.input(0))
    assert found is not None
    _, ahead = found
    assert isinstance(ahead, Node)
    node.proto.input[0] = ahead.input(0)
    if not [reader for reader, _ in graphs.readers_of(ahead) if reader is not node] and not graphs.is_output(ahead):
        node.scope.graph.node.remove(ahead.proto)
