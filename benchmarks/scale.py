"""How processor time grows with the size of a model, for shapes of graphs that could make it grow faster.

    python -m benchmarks.scale                       # all graphs, without and with the check
    python -m benchmarks.scale chain splits --longest 60

Each fold is a process of its own, `bnfold MODEL -o OUT`, ended after so many seconds of processor time. That time is
of all its processes. The last column is the exponent between a row and the one before it: 1 where time grows
with the size.
"""

import argparse
import math
import os
import resource
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

_CHANNELS = 4


class Builder:
    """Collects the nodes and weights of a graph whose tensors all have four channels."""

    def __init__(self) -> None:
        self.random = np.random.default_rng(0)
        self.nodes: list[onnx.NodeProto] = []
        self.tensors: list[onnx.TensorProto] = []
        self.functions: list[onnx.FunctionProto] = []

    def add(self, op_type: str, *inputs: str, outputs: int = 1, **attributes: object) -> str:
        """A node; returns the name of its first output, of which others differ by their number."""
        first = f"t{len(self.nodes)}"
        names = [first, *(f"{first}.{number}" for number in range(1, outputs))]
        self.nodes.append(helper.make_node(op_type, list(inputs), names, name=f"n{len(self.nodes)}", **attributes))
        return first

    def weight(self, values: np.ndarray) -> str:
        """An initializer; returns its name."""
        name = f"w{len(self.tensors)}"
        self.tensors.append(numpy_helper.from_array(np.asarray(values, np.float32), name))
        return name

    def conv(self, source: str, inputs: int = _CHANNELS, weight: str = "") -> str:
        """A 1x1 Conv that is close to a mean: thousands in a row neither grow, nor lose all digits of their inputs."""
        mean = np.tile(np.eye(_CHANNELS), inputs // _CHANNELS) * (_CHANNELS / inputs)
        values = mean + 0.01 * self.random.normal(size=mean.shape)
        return self.add("Conv", source, weight or self.weight(values[:, :, None, None]))

    def norm(self, source: str, channels: int = _CHANNELS) -> str:
        """A BatchNorm whose scale is close to 1, so that thousands in a row stay finite."""
        values = (np.ones(channels), np.full(channels, 0.1), np.full(channels, 0.1), np.ones(channels))
        return self.add("BatchNormalization", source, *map(self.weight, values))

    def model(self, *outputs: str) -> onnx.ModelProto:
        """The model."""
        shape = [1, _CHANNELS, 4, 4]
        ports = [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)]
        results = [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in outputs]
        graph = helper.make_graph(self.nodes, "graph", ports, results, self.tensors)
        opsets = [helper.make_opsetid("", 17), helper.make_opsetid("own", 1)]
        return helper.make_model(graph, opset_imports=opsets, functions=self.functions, ir_version=8)


def chain(size: int) -> onnx.ModelProto:
    """Conv, BatchNorm, Relu, again and again: `size` nodes."""
    build, last = Builder(), "x"
    for _ in range(size // 3):
        last = build.add("Relu", build.norm(build.conv(last)))
    return build.model(last)


def norms(size: int) -> onnx.ModelProto:
    """So many BatchNorms in a row behind one Conv."""
    build = Builder()
    last = build.conv("x")
    for _ in range(size):
        last = build.norm(last)
    return build.model(last)


def dense(size: int) -> onnx.ModelProto:
    """DenseNets: blocks of 12 layers that read all before them, until there are so many layers."""
    build, last = Builder(), "x"
    for _ in range(size // 12):
        parts = [last]
        for _ in range(12):
            joined = build.add("Concat", *parts, axis=1) if len(parts) > 1 else parts[0]
            channels = _CHANNELS * len(parts)
            parts.append(build.conv(build.add("Relu", build.norm(joined, channels)), channels))
        last = build.conv(build.add("Concat", *parts, axis=1), _CHANNELS * len(parts))
    return build.model(last)


def readers(size: int) -> onnx.ModelProto:
    """One tensor with so many readers: Convs with a BatchNorm each, all added up."""
    build = Builder()
    source = build.norm("x")
    return build.model(build.add("Sum", *(build.norm(build.conv(source)) for _ in range(size))))


def norms_of_one(size: int) -> onnx.ModelProto:
    """One Conv read by so many BatchNorms."""
    build = Builder()
    source = build.conv("x")
    return build.model(build.add("Sum", *(build.norm(source) for _ in range(size))))


def unlike(size: int) -> onnx.ModelProto:
    """One Conv read by so many BatchNorms, each with another map."""
    build = Builder()
    source = build.conv("x")
    values = (
        (build.random.uniform(0.5, 2, (2, _CHANNELS)), build.random.normal(size=(2, _CHANNELS))) for _ in range(size)
    )
    ordered = ((scale, bias, mean, variance) for (scale, variance), (bias, mean) in values)
    parts = [build.add("BatchNormalization", source, *map(build.weight, four)) for four in ordered]
    return build.model(build.add("Sum", *parts))


def splits(size: int) -> onnx.ModelProto:
    """A BatchNorm, a Split into so many, a BatchNorm on each, joined again."""
    build = Builder()
    wide = build.add("Conv", "x", build.weight(build.random.normal(size=(size, _CHANNELS, 1, 1))))
    first = build.add("Split", build.norm(wide, size), outputs=size, axis=1, num_outputs=size)
    build.nodes[-1].ClearField("attribute")
    build.nodes[-1].attribute.append(helper.make_attribute("axis", 1))
    build.nodes[-1].input.append("parts")
    build.tensors.append(numpy_helper.from_array(np.ones(size, np.int64), "parts"))
    parts = [first, *(f"{first}.{number}" for number in range(1, size))]
    return build.model(build.add("Concat", *(build.add("Relu", build.norm(part, 1)) for part in parts), axis=1))


def functions(size: int) -> onnx.ModelProto:
    """So many functions of a Conv and a BatchNorm, each called once."""
    build, last = Builder(), "x"
    opsets = [helper.make_opsetid("", 17)]
    for number in range(size):
        inner = Builder()
        inner.norm(inner.conv("x"))
        held = [helper.make_node("Constant", [], [tensor.name], value=tensor) for tensor in inner.tensors]
        output = inner.nodes[-1].output[0]
        build.functions.append(
            helper.make_function("own", f"F{number}", ["x"], [output], [*held, *inner.nodes], opsets)
        )
        last = build.add(f"F{number}", last, domain="own")
    return build.model(last)


def shared(size: int) -> onnx.ModelProto:
    """So many Convs of one weight, a BatchNorm behind each."""
    build, last = Builder(), "x"
    weight = build.weight(build.random.normal(size=(_CHANNELS, _CHANNELS, 1, 1)) / 2)
    for _ in range(size):
        last = build.add("Relu", build.norm(build.conv(last, weight=weight)))
    return build.model(last)


def ifs(size: int) -> onnx.ModelProto:
    """So many Ifs with a Conv and a BatchNorm in both branches, one behind the other."""
    build, last = Builder(), "x"
    build.tensors.append(numpy_helper.from_array(np.array(True), "flag"))
    for number in range(size):
        branches = {}
        for name in ("then_branch", "else_branch"):
            inner = Builder()
            output = inner.norm(inner.conv(last))
            prefix = f"{name}{number}."
            own = {tensor.name for tensor in inner.tensors} | {node.output[0] for node in inner.nodes}
            for node in inner.nodes:
                for names in (node.input, node.output):
                    names[:] = [prefix + entry if entry in own and entry != last else entry for entry in names]
            for tensor in inner.tensors:
                tensor.name = prefix + tensor.name
            inner.nodes[0].input[0] = last
            results = [helper.make_tensor_value_info(prefix + output, TensorProto.FLOAT, None)]
            branches[name] = helper.make_graph(inner.nodes, name, [], results, inner.tensors)
        last = build.add("If", "flag", **branches)
        build.nodes[-1].output[0] = last = f"if{number}"
    return build.model(last)


GRAPHS: dict[str, tuple[Callable[[int], onnx.ModelProto], tuple[int, ...]]] = {
    "chain": (chain, (10_000, 50_000, 200_000)),
    "norms": (norms, (100, 300, 1_000)),
    "dense": (dense, (120, 600, 2_400)),
    "readers": (readers, (1_000, 3_000, 10_000)),
    "norms_of_one": (norms_of_one, (300, 1_000, 3_000)),
    "unlike": (unlike, (40, 80, 160)),
    "splits": (splits, (50, 100, 200)),
    "functions": (functions, (100, 300, 1_000)),
    "shared": (shared, (500, 1_500, 5_000)),
    "ifs": (ifs, (300, 1_000, 2_000)),
}


def seconds_of(model: Path, folder: Path, longest: int, *options: str) -> tuple[float, str]:
    """Processor time of one fold, and what is to be said of it."""
    command = [sys.executable, "-m", "bnfold", str(model), "-o", str(folder / "out.onnx"), "-q", *options]
    limits = ["--time-limit", str(longest)]
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    try:
        done = subprocess.run([*command, *limits], capture_output=True, text=True, timeout=4 * longest, check=False)
        said = "" if done.returncode == 0 else f"exit {done.returncode}: {done.stderr.strip()[-90:]}"
    except subprocess.TimeoutExpired:
        said = "stopped"
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, said


def report(name: str, longest: int, ways: list[str], folder: Path) -> None:
    """The rows of one graph; larger ones are left out once a smaller one took too long."""
    make, sizes = GRAPHS[name]
    before: dict[str, tuple[int, float]] = {}
    for size in sizes:
        path = folder / f"{name}.onnx"
        onnx.save(make(size), path)
        for way in ways:
            size_before, seconds_before = before.get(way, (size, 0.0))
            if seconds_before > longest:
                continue
            seconds, said = seconds_of(path, folder, longest, *([] if way == "check" else ["--no-verify"]))
            exponent = math.log(seconds / seconds_before, size / size_before) if seconds_before else math.nan
            grows = "" if math.isnan(exponent) else f"{exponent:.1f}"
            print(f"| {name} | {size:,} | {way} | {seconds:.1f} | {grows} | {said} |", flush=True)
            before[way] = (size, math.inf if said == "stopped" else seconds)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("graphs", nargs="*", default=list(GRAPHS), help=", ".join(GRAPHS))
    parser.add_argument("--longest", type=int, default=120, help="seconds of processor time of one step")
    parser.add_argument("--ways", nargs="*", default=["fold", "check"], choices=["fold", "check"])
    given = parser.parse_args()
    os.environ["OMP_NUM_THREADS"] = "1"
    print("| graph | size | | processor s | grows as size to the | |\n|---|--:|---|--:|--:|---|")
    with tempfile.TemporaryDirectory() as folder:
        for name in given.graphs:
            report(name, given.longest, given.ways, Path(folder))


if __name__ == "__main__":
    main()
