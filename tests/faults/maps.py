"""The map that a BatchNorm or an arithmetic node is, computed from the original's parameters alone."""

from dataclasses import dataclass, replace

import numpy as np

from tests.faults.graphs import Graphs, Node, attribute


@dataclass(frozen=True, eq=False)
class Map:
    """`scale * x + shift`, one number per channel, in float64."""

    scale: np.ndarray
    shift: np.ndarray

    @property
    def channels(self) -> int:
        return self.scale.size

    def after(self, first: "Map") -> "Map":
        """This map on top of another."""
        return Map(self.scale * first.scale, self.scale * first.shift + self.shift)

    def inverse(self) -> "Map":
        """What gives x back; of scales other than 0."""
        return Map(1 / self.scale, -self.shift / self.scale)

    def scale_alone(self) -> "Map":
        return Map(self.scale, np.zeros_like(self.shift))

    def shift_alone(self) -> "Map":
        return Map(np.ones_like(self.scale), self.shift)


def identity(channels: int) -> Map:
    """The map that changes nothing."""
    return Map(np.ones(channels), np.zeros(channels))


@dataclass(frozen=True, eq=False)
class Statistics:
    """The parameters of a BatchNorm in inference, as the file has them."""

    gamma: np.ndarray
    beta: np.ndarray
    mean: np.ndarray
    variance: np.ndarray
    epsilon: float

    def map(self) -> Map:
        scale = self.gamma / np.sqrt(self.variance + self.epsilon)
        return Map(scale, self.beta - scale * self.mean)

    def with_epsilon(self, epsilon: float) -> "Statistics":
        return replace(self, epsilon=epsilon)


def statistics(graphs: Graphs, node: Node) -> Statistics | None:
    """Of a BatchNorm whose parameters are constants."""
    values = [graphs.constant(node.scope, name) for name in node.proto.input[1:5]]
    if len(values) != 4 or any(value is None for value in values):
        return None
    epsilon = attribute(node.proto, "epsilon", float(np.float32(1e-5)))
    return Statistics(*(value.astype(np.float64) for value in values), epsilon)


def data_slot(graphs: Graphs, node: Node) -> int:
    """Which input of an affine node is the activation."""
    if node.proto.op_type == "BatchNormalization":
        return 0
    return 0 if graphs.constant(node.scope, node.input(0)) is None else 1


def map_of(graphs: Graphs, node: Node) -> Map | None:
    """The map of a BatchNorm, Mul, Add, Sub or Div whose constant runs along one axis."""
    if node.proto.op_type == "BatchNormalization":
        found = statistics(graphs, node)
        return found.map() if found else None
    slot = data_slot(graphs, node)
    values = graphs.constant(node.scope, node.input(1 - slot))
    if values is None or sum(length > 1 for length in values.shape) > 1:
        return None
    constant = values.astype(np.float64).reshape(-1)
    ones, zeros = np.ones_like(constant), np.zeros_like(constant)
    match node.proto.op_type, slot:
        case "Mul", _:
            return Map(constant, zeros)
        case "Add", _:
            return Map(ones, constant)
        case "Sub", 0:
            return Map(ones, -constant)
        case "Sub", 1:
            return Map(-ones, constant)
        case "Div", 0:
            return Map(1 / constant, zeros)
    return None
