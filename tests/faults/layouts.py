"""Weights of every operator in one layout, (groups, outputs, inputs, *kernel), and back into the operator's own."""

from dataclasses import dataclass

import numpy as np

from tests.faults.graphs import Graphs, Node, attribute


@dataclass(frozen=True, eq=False)
class Parameters:
    """What an operator with weights computes with, in float64.

    Attributes:
        weight: (groups, outputs, inputs, *kernel).
        bias: one number per output channel; None where the operator has none.
    """

    weight: np.ndarray
    bias: np.ndarray | None = None

    @property
    def groups(self) -> int:
        return self.weight.shape[0]

    @property
    def outputs(self) -> int:
        return self.weight.shape[0] * self.weight.shape[1]

    @property
    def inputs(self) -> int:
        return self.weight.shape[0] * self.weight.shape[2]

    @property
    def full_bias(self) -> np.ndarray:
        """The bias, zeros where there is none."""
        return np.zeros(self.outputs) if self.bias is None else self.bias

    def per_output(self, vector: np.ndarray) -> np.ndarray:
        """One number per output channel, broadcastable to the weight."""
        return vector.reshape(*self.weight.shape[:2], *(1,) * (self.weight.ndim - 2))

    def per_input(self, vector: np.ndarray) -> np.ndarray:
        """One number per input channel, broadcastable to the weight."""
        return vector.reshape(self.groups, 1, self.weight.shape[2], *(1,) * (self.weight.ndim - 3))

    def applied_to(self, constant: np.ndarray) -> np.ndarray:
        """What each output channel makes of an input that holds one number per channel everywhere."""
        return (self.weight * self.per_input(constant)).sum(axis=tuple(range(2, self.weight.ndim))).reshape(-1)


def read(graphs: Graphs, node: Node) -> Parameters | str:
    """The parameters of an operator, or why this package does not read them."""
    stored = graphs.constant(node.scope, node.input(1))
    if stored is None:
        return f"{node.proto.op_type} has no constant weight as its second input"
    if node.proto.op_type == "MatMul" and stored.ndim != 2:
        return f"a MatMul by a weight of rank {stored.ndim}"
    weight = _canonical(node, stored.astype(np.float64))
    found = bias_place(graphs, node)
    if found is None:
        return Parameters(weight)
    place, slot = found
    values = graphs.constant(place.scope, place.input(slot))
    if values is None:
        return "the bias is not constant"
    outputs = weight.shape[0] * weight.shape[1]
    vector = _bias_vector(node, values.astype(np.float64))
    if vector.size not in (1, outputs):
        return f"a bias of shape {values.shape}"
    return Parameters(weight, np.broadcast_to(vector, (outputs,)).copy())


def bias_place(graphs: Graphs, node: Node) -> tuple[Node, int] | None:
    """The node and input that hold the bias: the operator's own, or an Add of a vector right behind a MatMul."""
    slot = 3 if node.proto.op_type in ("LSTM", "GRU", "RNN") else 2
    if node.proto.op_type != "MatMul":
        return (node, slot) if node.input(slot) else None
    readers = graphs.readers_of(node)
    if len(readers) != 1 or graphs.is_output(node) or readers[0][0].proto.op_type != "Add":
        return None
    add, data = readers[0]
    values = graphs.constant(add.scope, add.input(1 - data))
    return (add, 1 - data) if values is not None and values.ndim == 1 else None


def stored_weight(node: Node, weight: np.ndarray) -> np.ndarray:
    """The weight as the operator stores it."""
    match node.proto.op_type:
        case "Conv":
            return weight.reshape(-1, *weight.shape[2:])
        case "ConvTranspose":
            turned = weight.swapaxes(1, 2)
            return turned.reshape(-1, *turned.shape[2:])
        case "Gemm":
            factor = attribute(node.proto, "alpha", 1.0)
            return (weight[0] if attribute(node.proto, "transB", 0) else weight[0].T) / factor
        case "MatMul":
            return weight[0].T
        case _:
            return weight[0].reshape(_directions(node), -1, weight.shape[2])


def stored_bias(node: Node, bias: np.ndarray, like: np.ndarray | None) -> np.ndarray:
    """The bias as the operator stores it; `like` is the one that it has, if any."""
    match node.proto.op_type:
        case "LSTM" | "GRU" | "RNN":
            own = bias.reshape(_directions(node), -1)
            rest = np.zeros_like(own) if like is None else like.astype(np.float64)[:, own.shape[1] :]
            return np.concatenate([own, rest], axis=1)
        case "Gemm":
            own = bias / attribute(node.proto, "beta", 1.0)
            return own.reshape(1, -1) if like is not None and like.ndim == 2 else own
        case _:
            return bias


def _canonical(node: Node, stored: np.ndarray) -> np.ndarray:
    groups = attribute(node.proto, "group", 1)
    match node.proto.op_type:
        case "Conv":
            return stored.reshape(groups, -1, *stored.shape[1:])
        case "ConvTranspose":
            return stored.reshape(groups, -1, *stored.shape[1:]).swapaxes(1, 2)
        case "Gemm":
            outputs_first = stored if attribute(node.proto, "transB", 0) else stored.T
            return outputs_first[np.newaxis] * attribute(node.proto, "alpha", 1.0)
        case "MatMul":
            return stored.T[np.newaxis]
        case _:
            return stored.reshape(1, -1, stored.shape[2])


def _bias_vector(node: Node, values: np.ndarray) -> np.ndarray:
    match node.proto.op_type:
        case "LSTM" | "GRU" | "RNN":
            return values[:, : values.shape[1] // 2].reshape(-1)
        case "Gemm":
            return values.reshape(-1) * attribute(node.proto, "beta", 1.0)
        case _:
            return values.reshape(-1)


def _directions(node: Node) -> int:
    return 2 if attribute(node.proto, "direction", b"forward") == b"bidirectional" else 1
