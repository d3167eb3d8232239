"""DenseNet-121 as torchvision names and joins it, an eighth as wide: the network in the picture of the report."""

from dataclasses import dataclass, field

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

_LAYERS = (6, 12, 24, 16)
_STEM, _GROWTH, _BOTTLENECK = 16, 8, 16
_SIZE, _CLASSES, _SEED = 64, 10, 0


@dataclass
class _Graph:
    """What was built so far; every method returns the name of its output."""

    nodes: list[onnx.NodeProto] = field(default_factory=list)
    weights: list[onnx.TensorProto] = field(default_factory=list)
    random: np.random.Generator = field(default_factory=lambda: np.random.default_rng(_SEED))

    def node(self, op: str, name: str, inputs: list[str], **attributes: object) -> str:
        output = f"{name}/{op}_output_0"
        self.nodes.append(helper.make_node(op, inputs, [output], f"{name}/{op}", **attributes))
        return output

    def weight(self, name: str, values: np.ndarray) -> str:
        self.weights.append(numpy_helper.from_array(values.astype(np.float32), name))
        return name

    def conv(self, x: str, name: str, channels: tuple[int, int], kernel: int, stride: int = 1) -> str:
        taken, made = channels
        values = self.random.normal(0, (2 / (taken * kernel**2)) ** 0.5, (made, taken, kernel, kernel))
        shape = {"kernel_shape": [kernel] * 2, "pads": [kernel // 2] * 4, "strides": [stride] * 2}
        return self.node("Conv", name, [x, self.weight(f"{name}.weight"[1:], values)], **shape)

    def norm(self, x: str, name: str, channels: int) -> str:
        """A BatchNorm with a few negative scales, as training leaves them."""
        scale = self.random.uniform(0.5, 1.5, channels) * self.random.choice([1, 1, 1, -1], channels)
        shift, mean = self.random.normal(0, 0.3, (2, channels))
        variance = self.random.uniform(0.5, 2, channels)
        values = {"weight": scale, "bias": shift, "running_mean": mean, "running_var": variance}
        names = [self.weight(f"{name}.{part}"[1:], held) for part, held in values.items()]
        return self.node("BatchNormalization", name, [x, *names])

    def norm_relu(self, x: str, name: str, number: str, channels: int) -> str:
        return self.node("Relu", f"{name}/relu{number}", [self.norm(x, f"{name}/norm{number}", channels)])


def densenet121() -> onnx.ModelProto:
    """The network of Huang et al. 2016 (https://arxiv.org/abs/1608.06993, table 1) with random weights, at opset 17."""
    graph, channels = _Graph(), _STEM
    x = graph.conv("input", "/features/conv0", (3, channels), 7, 2)
    x = graph.norm_relu(x, "/features", "0", channels)
    x = graph.node("MaxPool", "/features/pool0", [x], kernel_shape=[3, 3], strides=[2, 2], pads=[1] * 4)
    for block, layers in enumerate(_LAYERS, 1):
        made = [x]
        for layer in range(1, layers + 1):
            name = f"/features/denseblock{block}/denselayer{layer}"
            joined = graph.node("Concat", name, made, axis=1) if layer > 1 else x
            x = graph.norm_relu(joined, name, "1", channels)
            x = graph.norm_relu(graph.conv(x, f"{name}/conv1", (channels, _BOTTLENECK), 1), name, "2", _BOTTLENECK)
            made.append(graph.conv(x, f"{name}/conv2", (_BOTTLENECK, _GROWTH), 3))
            channels += _GROWTH
        x = graph.node("Concat", f"/features/denseblock{block}", made, axis=1)
        if block < len(_LAYERS):
            name = f"/features/transition{block}"
            x = graph.conv(graph.norm_relu(x, name, "", channels), f"{name}/conv", (channels, channels // 2), 1)
            channels //= 2
            x = graph.node("AveragePool", f"{name}/pool", [x], kernel_shape=[2, 2], strides=[2, 2])
    x = graph.node("GlobalAveragePool", "", [graph.norm_relu(x, "/features", "5", channels)])
    x = graph.node("Flatten", "", [x])
    classes = graph.weight("classifier.weight", graph.random.normal(0, 0.1, (_CLASSES, channels)))
    graph.nodes.append(helper.make_node("Gemm", [x, classes], ["output"], "/classifier/Gemm", transB=1))
    inputs = [helper.make_tensor_value_info("input", TensorProto.FLOAT, [1, 3, _SIZE, _SIZE])]
    outputs = [helper.make_tensor_value_info("output", TensorProto.FLOAT, [1, _CLASSES])]
    body = helper.make_graph(graph.nodes, "densenet121", inputs, outputs, graph.weights)
    return helper.make_model(body, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
