"""Small networks that together hold every way in which a BatchNorm folds. Each is made of a seed."""

from collections.abc import Callable

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from tests.faults.float16 import to_float16
from tests.networks import Network


class _Network(Network):
    """Weights that keep the size of what they read, so that float16 does not overflow behind a few BatchNorms."""

    def weight(self, name: str, *shape: int, dtype: str = "float32") -> str:
        return self.constant(name, self.random.normal(size=shape) * 2 / max(1, np.prod(shape[1:])), dtype)


def stack(seed: int) -> onnx.ModelProto:
    """Conv, BatchNorm, Relu three times, with a bias and without, and a linear end."""
    net, tensor, channels = _Network(seed=seed), "x", 3
    for number in range(3):
        inputs = [tensor, net.weight(f"w{number}", 8, channels, 3, 3)]
        inputs += [net.weight(f"b{number}", 8)] if number else []
        net.batch_norm(net.node("Conv", inputs, f"c{number}", pads=[1] * 4), f"n{number}", 8)
        tensor, channels = net.node("Relu", [f"n{number}"], f"r{number}"), 8
    net.node("Conv", [tensor, net.weight("w_end", 4, 8, 1, 1)], "y")
    return net.model({"x": [2, 3, 8, 8]}, ["y"])


def depthwise(seed: int) -> onnx.ModelProto:
    """Depthwise and pointwise, as in mobile networks."""
    net = _Network(seed=seed)
    net.batch_norm(net.node("Conv", ["x", net.weight("w1", 6, 1, 3, 3)], "c1", group=6, pads=[1] * 4), "n1", 6)
    net.node("Relu", ["n1"], "r1")
    net.batch_norm(net.node("Conv", ["r1", net.weight("w2", 6, 6, 1, 1)], "c2"), "n2", 6)
    net.node("Add", ["n2", "x"], "y")
    return net.model({"x": [2, 6, 7, 7]}, ["y"])


def grouped(seed: int) -> onnx.ModelProto:
    """Grouped Conv and ConvTranspose with several channels a group."""
    net = _Network(seed=seed)
    net.batch_norm(
        net.node("Conv", ["x", net.weight("w1", 12, 2, 3, 3), net.weight("b1", 12)], "c1", group=4), "n1", 12
    )
    net.node("LeakyRelu", ["n1"], "r1")
    net.batch_norm(
        net.node("ConvTranspose", ["r1", net.weight("w2", 12, 4, 2, 2)], "c2", group=3, strides=[2, 2]), "y", 12
    )
    return net.model({"x": [2, 8, 6, 6]}, ["y"])


def transposed(seed: int) -> onnx.ModelProto:
    """ConvTranspose from more channels to fewer."""
    net = _Network(seed=seed)
    inputs = ["x", net.weight("w", 8, 4, 3, 3), net.weight("b", 4)]
    net.batch_norm(net.node("ConvTranspose", inputs, "c", strides=[2, 2], pads=[1] * 4), "y", 4)
    return net.model({"x": [2, 8, 5, 5]}, ["y"])


def linear(seed: int) -> onnx.ModelProto:
    """Gemm with transB, BatchNorm over its features, and one without bias behind."""
    net = _Network(seed=seed)
    net.batch_norm(net.node("Gemm", ["x", net.weight("w1", 10, 6), net.weight("b1", 10)], "g1", transB=1), "n1", 10)
    net.node("Relu", ["n1"], "r1")
    net.batch_norm(net.node("Gemm", ["r1", net.weight("w2", 10, 10)], "g2"), "y", 10)
    return net.model({"x": [5, 6]}, ["y"])


def tokens(seed: int) -> onnx.ModelProto:
    """MatMul of (N, L, C), BatchNorm behind a Transpose."""
    net = _Network(seed=seed)
    net.node("MatMul", ["x", net.weight("w", 6, 6)], "m")
    net.node("Transpose", ["m"], "t", perm=[0, 2, 1])
    net.batch_norm("t", "y", 6)
    return net.model({"x": [2, 5, 6]}, ["y"])


def downstream(seed: int) -> onnx.ModelProto:
    """BatchNorms of the input and of a Relu in front of 1x1 Convs, one of them grouped."""
    net = _Network(seed=seed)
    net.batch_norm("x", "n1", 8)
    net.node("Conv", ["n1", net.weight("w1", 8, 8, 1, 1), net.weight("b1", 8)], "c1")
    net.batch_norm(net.node("Relu", ["c1"], "r1"), "n2", 8)
    net.node("Conv", ["n2", net.weight("w2", 6, 4, 1, 1)], "y", group=2)
    return net.model({"x": [2, 8, 5, 5]}, ["y"])


def through(seed: int) -> onnx.ModelProto:
    """BatchNorms of a sum of Convs, of a Concat of Convs, and in front of a Flatten and a Gemm."""
    net = _Network(seed=seed)
    for number in range(4):
        net.node("Conv", ["x", net.weight(f"w{number}", 4, 3, 3, 3), net.weight(f"b{number}", 4)], f"c{number}")
    net.batch_norm(net.node("Add", ["c0", "c1"], "sum"), "n0", 4)
    net.batch_norm(net.node("Concat", ["c2", "c3"], "both", axis=1), "n1", 8)
    net.node("Concat", ["n0", "n1"], "all", axis=1)
    net.batch_norm(net.node("Relu", ["all"], "r"), "n2", 12)
    net.node("Flatten", ["n2"], "f")
    net.node("Gemm", ["f", net.weight("w", 12 * 9, 5), net.weight("b", 5)], "y")
    return net.model({"x": [2, 3, 5, 5]}, ["y"])


def passing_relu(seed: int) -> onnx.ModelProto:
    """A BatchNorm of positive scales and no shift behind a Relu goes through it."""
    net = _Network(seed=seed)
    net.node("Conv", ["x", net.weight("w", 6, 3, 3, 3), net.weight("b", 6)], "c")
    net.node("Relu", ["c"], "r")
    parameters = {
        "n.scale": net.random.uniform(0.2, 2, size=6),
        "n.bias": np.zeros(6),
        "n.mean": np.zeros(6),
        "n.var": 10.0 ** net.random.uniform(-3, 1, size=6),
    }
    net.node("BatchNormalization", ["r", *(net.constant(name, values) for name, values in parameters.items())], "n")
    net.node("MaxPool", ["n"], "y", kernel_shape=[2, 2])
    return net.model({"x": [2, 3, 6, 6]}, ["y"])


def padded(seed: int) -> onnx.ModelProto:
    """BatchNorms in front of zero-padded Convs: one that stays, one that goes the other way."""
    net = _Network(seed=seed)
    net.batch_norm(net.node("Relu", ["x"], "r"), "n1", 4)
    net.batch_norm(net.node("Conv", ["n1", net.weight("w1", 6, 4, 3, 3)], "c1", pads=[1] * 4), "n2", 6)
    net.node("Conv", ["n2", net.weight("w2", 6, 6, 3, 3), net.weight("b2", 6)], "y", pads=[1] * 4)
    return net.model({"x": [2, 4, 6, 6]}, ["y"])


def recurrent(seed: int) -> onnx.ModelProto:
    """BatchNorm over features, in front of an LSTM."""
    net, hidden = _Network(seed=seed), 3
    net.batch_norm("x", "n", 5)
    net.node("Transpose", ["n"], "t", perm=[2, 0, 1])
    inputs = [
        "t",
        net.weight("w", 1, 4 * hidden, 5),
        net.weight("r", 1, 4 * hidden, hidden),
        net.weight("b", 1, 8 * hidden),
    ]
    net.node("LSTM", inputs, ["y"], hidden_size=hidden)
    return net.model({"x": [2, 5, 4]}, ["y"])


def branches(seed: int) -> onnx.ModelProto:
    """An If whose body folds a BatchNorm, and reads a tensor from outside."""
    net = _Network(seed=seed)
    net.node("Conv", ["x", net.weight("w", 4, 3, 3, 3)], "c")
    net.batch_norm("c", "n", 4)
    inner = _Network(seed=seed + 1)
    inner.node("Conv", ["n", inner.weight("w_in", 4, 4, 1, 1)], "c_in")
    inner.batch_norm("c_in", "y_in", 4)
    shape = [2, 4, 4, 4]
    tensors = [numpy_helper.from_array(values, name) for name, values in inner.initializers.items()]
    yes = helper.make_graph(inner.nodes, "yes", [], [_value("y_in", shape)], tensors)
    no = helper.make_graph([helper.make_node("Relu", ["n"], ["y_no"])], "no", [], [_value("y_no", shape)])
    net.constant("zero", 0.0)
    net.node("ReduceMax", ["x"], "top", keepdims=0)
    net.node("Greater", ["top", "zero"], "positive")
    net.node("If", ["positive"], "y", then_branch=yes, else_branch=no)
    return net.model({"x": [2, 3, 6, 6]}, {"y": shape})


def untaken(seed: int) -> onnx.ModelProto:
    """An If with a Conv and a BatchNorm in either body, and a condition that no sample makes true."""
    net = _Network(seed=seed)
    net.node("Conv", ["x", net.weight("w", 4, 3, 1, 1)], "c")
    bodies = []
    for number in range(2):
        inner = _Network(seed=seed + number)
        inner.node("Conv", ["c", inner.weight(f"w{number}", 4, 4, 1, 1)], f"c{number}")
        inner.batch_norm(f"c{number}", f"y{number}", 4)
        tensors = [numpy_helper.from_array(values, name) for name, values in inner.initializers.items()]
        bodies.append(
            helper.make_graph(inner.nodes, f"body{number}", [], [_value(f"y{number}", [2, 4, 5, 5])], tensors)
        )
    net.constant("huge", 1e6)
    net.node("Cast", ["huge"], "limit", to=TensorProto.FLOAT)
    net.node("Cast", ["x"], "wide", to=TensorProto.FLOAT)
    net.node("ReduceMax", ["wide"], "top", keepdims=0)
    net.node("Greater", ["top", "limit"], "never")
    net.node("If", ["never"], "y", then_branch=bodies[0], else_branch=bodies[1])
    return net.model({"x": [2, 3, 5, 5]}, {"y": [2, 4, 5, 5]})


def compensated(seed: int) -> onnx.ModelProto:
    """A BatchNorm that goes into the Conv in front of it, whose other reader takes the inverse."""
    net = _Network(seed=seed)
    net.node("Conv", ["x", net.weight("w", 4, 3, 3, 3), net.weight("b", 4)], "c")
    values = {
        "n.scale": net.random.uniform(0.5, 2, size=4) * net.random.choice((-1, 1), size=4),
        "n.bias": net.random.normal(size=4),
        "n.mean": net.random.normal(size=4),
        "n.var": net.random.uniform(0.3, 2, size=4),
    }
    net.node("BatchNormalization", ["c", *(net.constant(name, array) for name, array in values.items())], "n")
    net.node("Relu", ["n"], "r")
    net.node("Conv", ["c", net.weight("v", 4, 4, 1, 1), net.weight("a", 4)], "d")
    net.node("Add", ["r", "d"], "y")
    return net.model({"x": [2, 3, 6, 6]}, ["y"])


def padded_apart(seed: int) -> onnx.ModelProto:
    """A BatchNorm of one scale and shift in front of a Pad with a number, and a Conv without padding behind it."""
    net = _Network(seed=seed)
    scale, shift = net.random.uniform(0.5, 2), net.random.normal()
    values = {"n.scale": scale, "n.bias": shift, "n.mean": 0.0, "n.var": 1.0}
    names = [net.constant(name, np.full(3, value)) for name, value in values.items()]
    net.node("BatchNormalization", ["x", *names], "n")
    net.initializers["pads"] = np.asarray([0, 0, 1, 1, 0, 0, 1, 1], np.int64)
    net.node("Pad", ["n", "pads", net.constant("number", 0.75)], "p")
    net.node("Conv", ["p", net.weight("w", 4, 3, 3, 3), net.weight("b", 4)], "y")
    return net.model({"x": [2, 3, 6, 6]}, ["y"])


def constant_nodes(seed: int) -> onnx.ModelProto:
    """A stack whose parameters are Constant nodes."""
    model = stack(seed)
    nodes = [helper.make_node("Constant", [], [entry.name], value=entry) for entry in model.graph.initializer]
    nodes += model.graph.node
    del model.graph.initializer[:], model.graph.node[:]
    model.graph.node.extend(nodes)
    return model


FLOAT32: dict[str, Callable[[int], onnx.ModelProto]] = {
    made.__name__: made
    for made in (
        stack, depthwise, grouped, transposed, linear, tokens, downstream, through, passing_relu, padded, recurrent,
        branches, untaken, compensated, padded_apart, constant_nodes,
    )
}  # fmt: skip
"""Each network by name."""

NETWORKS: dict[str, Callable[[int], onnx.ModelProto]] = {
    **FLOAT32,
    **{
        f"{name}_float16": lambda seed, made=made: to_float16(made(seed))
        for name, made in FLOAT32.items()
        if made is not compensated  # the inverse of a map may lose digits of float16: nothing folds
    },
}
"""The same, and each in float16."""


def _value(name: str, shape: list[int]) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)
