"""A network of the size and shape of ResNet-50, 102 MB of random weights, with a BatchNorm behind every Conv."""

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

_STAGES = ((64, 3), (128, 4), (256, 6), (512, 3))


class _Builder:
    def __init__(self, seed: int) -> None:
        self.random = np.random.default_rng(seed)
        self.nodes: list[onnx.NodeProto] = []
        self.tensors: list[onnx.TensorProto] = []

    def parameter(self, name: str, values: np.ndarray) -> str:
        self.tensors.append(numpy_helper.from_array(values.astype(np.float32), name))
        return name

    def node(self, op_type: str, inputs: list[str], output: str, **attributes: object) -> str:
        self.nodes.append(helper.make_node(op_type, inputs, [output], name=output, **attributes))
        return output

    def conv(self, source: str, name: str, inputs: int, outputs: int, kernel: int, stride: int = 1) -> str:
        """A Conv and its BatchNorm, with statistics that keep the values near 1."""
        weight = self.random.normal(size=(outputs, inputs, kernel, kernel)) * (2 / (inputs * kernel**2)) ** 0.5
        pads = [kernel // 2] * 4
        convolved = self.node(
            "Conv", [source, self.parameter(f"{name}.w", weight)], f"{name}.c", pads=pads, strides=[stride] * 2
        )
        statistics = {
            "scale": self.random.normal(1, 0.2, outputs),
            "bias": self.random.normal(0, 0.1, outputs),
            "mean": self.random.normal(0, 0.1, outputs),
            "var": self.random.uniform(0.5, 1.5, outputs),
        }
        names = [self.parameter(f"{name}.{key}", values) for key, values in statistics.items()]
        return self.node("BatchNormalization", [convolved, *names], name)

    def bottleneck(self, source: str, name: str, inputs: int, width: int, stride: int) -> str:
        inner = self.node("Relu", [self.conv(source, f"{name}.1", inputs, width, 1)], f"{name}.1r")
        inner = self.node("Relu", [self.conv(inner, f"{name}.2", width, width, 3, stride)], f"{name}.2r")
        inner = self.conv(inner, f"{name}.3", width, 4 * width, 1)
        beside = source
        if inputs != 4 * width:
            beside = self.conv(source, f"{name}.s", inputs, 4 * width, 1, stride)
        return self.node("Relu", [self.node("Add", [inner, beside], f"{name}.sum")], name)


def resnet50(seed: int = 0) -> onnx.ModelProto:
    """Input x (1, 3, 224, 224), output y (1, 1000), 53 BatchNorms."""
    build = _Builder(seed)
    value = build.node("Relu", [build.conv("x", "stem", 3, 64, 7, 2)], "stem.r")
    value = build.node("MaxPool", [value], "pool", kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1])
    channels = 64
    for stage, (width, blocks) in enumerate(_STAGES):
        for block in range(blocks):
            stride = 2 if stage and not block else 1
            value = build.bottleneck(value, f"s{stage}b{block}", channels, width, stride)
            channels = 4 * width
    value = build.node("Flatten", [build.node("GlobalAveragePool", [value], "gap")], "flat")
    weight = build.parameter("fc.w", build.random.normal(size=(channels, 1000)) * channels**-0.5)
    build.node("Gemm", [value, weight, build.parameter("fc.b", build.random.normal(size=1000) * 0.1)], "y")
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 3, 224, 224])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 1000])
    graph = helper.make_graph(build.nodes, "resnet50", [x], [y], build.tensors)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
