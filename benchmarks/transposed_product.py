"""What a product of a transposed tensor costs under onnxruntime: with a BatchNorm behind it, and with a bias instead.

    python benchmarks/transposed_product.py [--rounds 3000]

Without a bias, onnxruntime makes one FusedMatMul of Transpose and MatMul, and runs the BatchNorm by itself. With a bias
it runs Transpose and Gemm: as many nodes, but the fused one is lost. The sizes are those of the first product of
levit_128s. All three models run in turns, on one thread.
"""

import argparse
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

PLACES, INPUTS, OUTPUTS = 196, 128, 256


def model(behind: str) -> onnx.ModelProto:
    """Transpose, MatMul, Reshape, and what is behind the product: "BatchNormalization", "bias", or "bias, reshaped"."""
    random = np.random.default_rng(0)
    weights = {"w": random.normal(size=(INPUTS, OUTPUTS)).astype(np.float32), "rows": np.array([PLACES, OUTPUTS])}
    product = [
        helper.make_node("Transpose", ["x"], ["turned"], perm=[0, 2, 1]),
        helper.make_node("MatMul", ["turned", "w"], ["product"]),
    ]
    if behind == "bias":
        nodes = [
            helper.make_node("Add", ["product", "v0"], ["sum"]),
            helper.make_node("Reshape", ["sum", "rows"], ["y"]),
        ]
    else:
        last = "BatchNormalization" if behind == "BatchNormalization" else "Add"
        parameters = [f"v{number}" for number in range(4 if last == "BatchNormalization" else 1)]
        nodes = [
            helper.make_node("Reshape", ["product", "rows"], ["flat"]),
            helper.make_node(last, ["flat", *parameters], ["y"]),
        ]
    for name in {name for node in nodes for name in node.input if name.startswith("v")}:
        weights[name] = random.uniform(0.5, 2, size=OUTPUTS).astype(np.float32)
    graph = helper.make_graph(
        [*product, *nodes],
        "graph",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, INPUTS, PLACES])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [PLACES, OUTPUTS])],
        [numpy_helper.from_array(values, name) for name, values in weights.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def session(behind: str) -> tuple[onnxruntime.InferenceSession, list[str]]:
    """A session at the default level, and the operators that it runs."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = 1
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "optimized.onnx"
        options.optimized_model_filepath = str(path)
        made = onnxruntime.InferenceSession(
            model(behind).SerializeToString(), options, providers=["CPUExecutionProvider"]
        )
        return made, [node.op_type for node in onnx.load(path).graph.node if node.op_type != "Reshape"]


def main() -> None:
    """Time all three in turns."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3000)
    rounds = parser.parse_args().rounds
    sessions = {behind: session(behind) for behind in ("BatchNormalization", "bias", "bias, reshaped")}
    x = np.random.default_rng(1).normal(size=(1, INPUTS, PLACES)).astype(np.float32)
    spent: dict[str, list[float]] = {behind: [] for behind in sessions}
    for _ in range(rounds):
        for behind, (runner, _operators) in sessions.items():
            start = time.perf_counter()
            runner.run(None, {"x": x})
            spent[behind].append(time.perf_counter() - start)
    for behind, (_runner, operators) in sessions.items():
        least, median = 1e6 * min(spent[behind]), 1e6 * statistics.median(spent[behind])
        print(f"{behind:20} {' '.join(operators):35} least {least:6.1f} us, median {median:6.1f} us")


if __name__ == "__main__":
    main()
