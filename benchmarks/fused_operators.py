"""What onnxruntime's default level makes of models before and after folding: operators, and time on request.

    python benchmarks/fused_operators.py MODEL.onnx... [--latency ROUNDS]

A fused operator is one that onnxruntime puts together: of a type that the file does not have. None may be lost: where
there are fewer, no operator that is not fused may run more often, for that is what a lost one leaves. And no model may
run more nodes after folding. Exits with 1 where one is or does. Views, such as Reshape, do nothing, and do
not count; operators of the nchwc layout are another layout, not a fusion (a BatchNorm becomes a Conv there).

A FusedMatMul of a transposed tensor may become a Transpose and a Gemm, which is fused from MatMul and Add: that are two
nodes, as the FusedMatMul and the BatchNorm behind it were, and faster than those (transposed_product.py).
"""

import argparse
import statistics
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import numpy as np
import onnx
import onnxruntime

import bnfold

Operators = Counter[str]
_VIEWS = ("Flatten", "Identity", "Reshape", "Squeeze", "Unsqueeze")
_LAYOUT = "com.microsoft.nchwc::"
_TURNED = "com.microsoft::FusedMatMul of a transposed tensor"


def operators_of(model: onnx.ModelProto) -> Operators:
    """The nodes of the main graph by type, other domains in front."""
    return Counter(_called(node) for node in model.graph.node)


def _called(node: onnx.NodeProto) -> str:
    turned = node.op_type == "FusedMatMul" and any(
        entry.i for entry in node.attribute if entry.name.startswith("trans")
    )
    return f"{node.domain}::{node.op_type}{' of a transposed tensor' if turned else ''}".removeprefix("::")


def session(path: Path, optimized: Path | None = None) -> onnxruntime.InferenceSession:
    """A session at onnxruntime's default level, which writes down what it runs."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = 1
    if optimized is not None:
        options.optimized_model_filepath = str(optimized)
    return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])


def operators_run(path: Path) -> Operators:
    """What onnxruntime runs for a model."""
    with tempfile.TemporaryDirectory() as folder:
        optimized = Path(folder) / "optimized.onnx"
        session(path, optimized)
        found = operators_of(onnx.load(optimized, load_external_data=False))
    for view in _VIEWS:
        found.pop(view, None)
    return found


def latency(paths: list[Path], rounds: int) -> list[float]:
    """Median seconds of each model, run in turns so that a busy machine is equally unfair to all."""
    sessions = [session(path) for path in paths]
    random = np.random.default_rng(0)
    feeds = {
        entry.name: random.normal(size=[n if isinstance(n, int) else 1 for n in entry.shape]).astype(np.float32)
        for entry in sessions[0].get_inputs()
    }
    spent: list[list[float]] = [[] for _ in sessions]
    for _ in range(rounds):
        for times, runner in zip(spent, sessions, strict=True):
            start = time.perf_counter()
            runner.run(None, feeds)
            times.append(time.perf_counter() - start)
    return [statistics.median(times) for times in spent]


def compare(path: Path, rounds: int) -> bool:
    """Print a line on one model; whether nothing was lost."""
    with tempfile.TemporaryDirectory() as folder:
        folded = Path(folder) / path.name
        onnx.save(bnfold.fold(path, verify=None).model, folded)
        before, after = operators_run(path), operators_run(folded)
        times = latency([path, folded], rounds) if rounds else []
    own = operators_of(onnx.load(path, load_external_data=False))
    made = {name: count for name, count in before.items() if name not in own and not name.startswith(_LAYOUT)}
    apart = [operator for operator in after if operator not in made and after[operator] > before[operator]]
    fewer = {operator: count for operator, count in made.items() if after[operator] < count} if apart else {}
    if after["Gemm"] - before["Gemm"] >= fewer.get(_TURNED, 0) - after[_TURNED]:
        fewer.pop(_TURNED, None)
    lost = [f"{operator} {count} -> {after[operator]}" for operator, count in fewer.items()]
    more = before.total() < after.total()
    fused = sum(made.values()), sum(after[operator] for operator in made)
    cells = [f"{path.stem:30}", f"{before.total():6} -> {after.total():<6}", f"{fused[0]:6} -> {fused[1]:<6}"]
    cells += [" -> ".join(f"{1e3 * seconds:.2f}" for seconds in times)] if times else []
    cells += [f"MORE NODES by {after.total() - before.total()}"] if more else []
    cells += [f"LOST {entry}" for entry in lost]
    print("  ".join(cells), flush=True)
    return not lost and not more


def main() -> int:
    """Compare all models of the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="+", type=Path)
    parser.add_argument("--latency", metavar="ROUNDS", type=int, default=0, help="run each model so many times, too")
    arguments = parser.parse_args()
    print(f"onnxruntime {onnxruntime.__version__}")
    timed = "  milliseconds" if arguments.latency else ""
    print(f"{'network':30}  nodes that run    of them fused{timed}")
    verdicts = [compare(path, arguments.latency) for path in arguments.models]
    return 0 if all(verdicts) else 1


if __name__ == "__main__":
    sys.exit(main())
