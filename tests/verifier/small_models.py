"""Tiny models, as bytes."""

from collections.abc import Mapping, Sequence

import numpy as np
from onnx import NodeProto, TensorProto, helper, numpy_helper

FLOAT, DOUBLE, HALF, BFLOAT16 = TensorProto.FLOAT, TensorProto.DOUBLE, TensorProto.FLOAT16, TensorProto.BFLOAT16
INT32, INT64, UINT8, BOOL, STRING = (
    TensorProto.INT32, TensorProto.INT64, TensorProto.UINT8, TensorProto.BOOL, TensorProto.STRING,
)  # fmt: skip

Ports = Mapping[str, tuple[int, Sequence[int | str | None] | None]]


def node(op_type: str, inputs: str, outputs: str, **attributes) -> NodeProto:
    """Names are separated by spaces."""
    return helper.make_node(op_type, inputs.split(), outputs.split(), **attributes)


def model_proto(
    nodes: Sequence[NodeProto],
    inputs: Ports,
    outputs: Ports,
    initializers: Mapping[str, np.ndarray] | None = None,
    *,
    opset: int = 17,
    ir_version: int = 8,
    domains: Mapping[str, int] | None = None,
):
    graph = helper.make_graph(
        nodes,
        "graph",
        [helper.make_tensor_value_info(name, *port) for name, port in inputs.items()],
        [helper.make_tensor_value_info(name, *port) for name, port in outputs.items()],
        [numpy_helper.from_array(np.asarray(values), name) for name, values in (initializers or {}).items()],
    )
    opsets = [helper.make_opsetid("", opset), *(helper.make_opsetid(*domain) for domain in (domains or {}).items())]
    return helper.make_model(graph, opset_imports=opsets, ir_version=ir_version)


def model(*args, **kwargs) -> bytes:
    """As model_proto, serialised."""
    return model_proto(*args, **kwargs).SerializeToString()


def unary(op_type: str, element: int = FLOAT, shape: Sequence[int | str | None] = (2, 3), **attributes) -> bytes:
    """y = op(x)."""
    return model([node(op_type, "x", "y", **attributes)], {"x": (element, shape)}, {"y": (element, shape)})


class ConvBatchNorm:
    """y = BatchNorm(Conv(x)) with wide statistics, and the same folded by hand in float64 from the stored numbers."""

    def __init__(self, seed: int = 0, channels: int = 4) -> None:
        random = np.random.default_rng(seed)
        self.channels = channels
        self.weight = random.normal(size=(channels, 3, 3, 3))
        self.bias = random.normal(size=channels)
        self.gamma = np.concatenate([[0.0, -1.5], random.normal(size=channels - 2) * 2])
        self.beta = random.normal(size=channels) * 3
        self.mean = random.normal(size=channels) * 5
        self.var = 10.0 ** random.uniform(-4, 1, size=channels)
        self.epsilon = 1e-5

    def original(self, dtype=np.float32) -> bytes:
        nodes = [
            node("Conv", "x w b", "c", pads=[1, 1, 1, 1]),
            node("BatchNormalization", "c gamma beta mean var", "y", epsilon=self.epsilon),
        ]
        names = ("gamma", "beta", "mean", "var")
        weights = {"w": self.weight, "b": self.bias, **{name: getattr(self, name) for name in names}}
        return self._model(nodes, weights, dtype)

    def folded(self, dtype=np.float32, *, spoil_weight=None, spoil_bias=None) -> bytes:
        """Each spoil function changes its array in place before rounding."""
        weight, bias, gamma, beta, mean, var = (
            values.astype(dtype).astype(np.float64)
            for values in (self.weight, self.bias, self.gamma, self.beta, self.mean, self.var)
        )
        scale = gamma / np.sqrt(var + self.epsilon)
        weight = weight * scale[:, None, None, None]
        bias = (bias - mean) * scale + beta
        for spoil, array in ((spoil_weight, weight), (spoil_bias, bias)):
            if spoil is not None:
                spoil(array)
        return self._model([node("Conv", "x w b", "y", pads=[1, 1, 1, 1])], {"w": weight, "b": bias}, dtype)

    def _model(self, nodes, weights, dtype) -> bytes:
        element = helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
        return model(
            nodes,
            {"x": (element, [1, 3, 6, 6])},
            {"y": (element, [1, self.channels, 6, 6])},
            {name: values.astype(dtype) for name, values in weights.items()},
        )
