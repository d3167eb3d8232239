"""Time the planning of large graphs: 50,000 nodes with up to 10,000 BatchNorms.

python benchmarks/planning.py [--blocks 10000]
"""

import argparse
import time
from collections.abc import Callable

import numpy as np
import onnx
from onnx import helper, numpy_helper

from bnfold.engine import fold_graph
from bnfold.frontends.onnx.port import OnnxPort
from bnfold.frontends.onnx.storage import TensorStore

CHANNELS = 4


class Builder:
    """Collects the nodes and weights of a graph."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.tensors: list[onnx.TensorProto] = []

    def add(self, op_type: str, *inputs: str) -> str:
        """A node; returns its output."""
        output = f"t{len(self.nodes)}"
        self.nodes.append(helper.make_node(op_type, list(inputs), [output], name=f"n{len(self.nodes)}"))
        return output

    def weight(self, values: np.ndarray) -> str:
        """An initializer; returns its name."""
        name = f"w{len(self.tensors)}"
        self.tensors.append(numpy_helper.from_array(values.astype(np.float32), name))
        return name

    def conv(self, source: str) -> str:
        """A 1x1 Conv."""
        return self.add("Conv", source, self.weight(np.eye(CHANNELS).reshape(CHANNELS, CHANNELS, 1, 1)))

    def batch_norm(self, source: str) -> str:
        """A BatchNorm whose scale is close to 1, so that thousands in a row stay finite."""
        return self.add(
            "BatchNormalization", source, *(self.weight(np.full(CHANNELS, v)) for v in (1.0, 0.1, 0.2, 1.0))
        )

    def model(self, output: str) -> onnx.ModelProto:
        """The model."""
        shape = [1, CHANNELS, 4, 4]
        inputs, outputs = ([helper.make_tensor_value_info(name, 1, shape)] for name in ("x", output))
        graph = helper.make_graph(self.nodes, "graph", inputs, outputs, self.tensors)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
        # Exporters declare the shape of every tensor, and a fold renames or drops such entries.
        return onnx.shape_inference.infer_shapes(model)


def folded(build: Builder, source: str) -> str:
    """Conv, Identity, BatchNorm, Relu, Sigmoid."""
    return build.add("Sigmoid", build.add("Relu", build.batch_norm(build.add("Identity", build.conv(source)))))


def refused(build: Builder, source: str) -> str:
    """Three Relu, a Sigmoid, a BatchNorm that stays."""
    for _ in range(3):
        source = build.add("Relu", source)
    return build.batch_norm(build.add("Sigmoid", source))


def residual(build: Builder, source: str) -> str:
    """A Conv and a BatchNorm beside the path, an Add, two Identity."""
    total = build.add("Add", source, build.batch_norm(build.conv(source)))
    return build.add("Identity", build.add("Identity", total))


def passed(build: Builder, source: str) -> str:
    """Five Identity."""
    for _ in range(5):
        source = build.add("Identity", source)
    return source


BLOCKS: dict[str, Callable[[Builder, str], str]] = {
    "each folds": folded,
    "each stays": refused,
    "residual": residual,
    "one long path": passed,
}


def main() -> None:
    """Time every kind of graph."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--blocks", type=int, default=10_000)
    blocks = parser.parse_args().blocks
    print(f"{'graph':<14} {'nodes':>7} {'folded':>7} {'stay':>7} {'index s':>8} {'plan s':>8}")
    for name, block in BLOCKS.items():
        build, tensor = Builder(), "x"
        for _ in range(blocks):
            tensor = block(build, tensor)
        model = build.model(build.batch_norm(tensor))
        nodes = len(model.graph.node)
        started = time.perf_counter()
        port = OnnxPort(model, TensorStore(None))
        indexed = time.perf_counter()
        outcome = fold_graph(port)
        planned = time.perf_counter()
        counts = f"{nodes:>7} {len(outcome.folds):>7} {len(outcome.kept):>7}"
        print(f"{name:<14} {counts} {indexed - started:>8.1f} {planned - indexed:>8.1f}", flush=True)


if __name__ == "__main__":
    main()
