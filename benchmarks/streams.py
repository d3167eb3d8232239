"""What folding across tensors that others read removes, and what it costs: `python -m benchmarks.streams [MODEL...]`.

Run it from the root of the repository. For every model: BatchNorms, how many stay without and with `across`, the
farthest zero point, the processor time of planning without and with it (the least of three runs in turns), and the
largest difference from the original under onnxruntime at ORT_DISABLE_ALL, in units of the output's scale; where that is
more than rounding, how far the original moves when its input moves by one bit. `--zero-points` measures how the error
grows with the distance between a BatchNorm's zero and its mean.
"""

import argparse
import sys
import time
from pathlib import Path
from unittest.mock import patch

import numpy as np
import onnx
import onnxruntime
from onnx.reference import ReferenceEvaluator

from bnfold.crossing import FARTHEST_ZERO
from bnfold.engine import fold_graph
from bnfold.frontends.onnx.port import OnnxPort
from bnfold.frontends.onnx.storage import TensorStore
from bnfold.outcome import Outcome
from tests.networks import Network

TURNS = 3
ROUNDING = 1e-4
DISTANCES = (0.25, 1.0, 8.0, 64.0, 512.0, 4096.0, 1e5)


def main() -> int:
    """Print the tables; the exit status is 1 where a result is not the original's."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("models", nargs="*", type=Path)
    parser.add_argument("--zero-points", action="store_true")
    arguments = parser.parse_args()
    wrong = False
    if arguments.models:
        print("| model | BatchNorms | stay, not across | stay | zero point | planning, not across | planning | error |")
        print("|---|--:|--:|--:|--:|--:|--:|--:|")
    for path in arguments.models:
        model = onnx.load(path)
        turns = [(_folded(model, across=False), _folded(model, across=True)) for _ in range(TURNS)]
        (without, _, _), (outcome, folded, _) = turns[0]
        before, after = (min(turn[way][2] for turn in turns) for way in (0, 1))
        apart = error(model, folded)
        said, is_wrong = judged(model, apart)
        wrong = wrong or is_wrong
        farthest = max((fold.zero_point for fold in outcome.folds), default=0.0)
        print(
            f"| {path.stem} | {_batch_norms(outcome)} | {_kept(without)} | {_kept(outcome)} | {farthest:.2f} "
            f"| {before:.2f} s | {after:.2f} s | {said} |",
            flush=True,
        )
    if arguments.zero_points:
        _print_zero_points()
    return int(wrong)


def _folded(model: onnx.ModelProto, *, across: bool) -> tuple[Outcome, onnx.ModelProto, float]:
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    port = OnnxPort(copy, TensorStore(None))
    start = time.process_time()
    outcome = fold_graph(port, across=across)
    seconds = time.process_time() - start
    port.finish()
    return outcome, copy, seconds


def _batch_norms(outcome: Outcome) -> int:
    return sum(entry.is_batch_norm for entry in (*outcome.folds, *outcome.kept))


def _kept(outcome: Outcome) -> int:
    return sum(entry.is_batch_norm for entry in outcome.kept)


def judged(original: onnx.ModelProto, apart: float) -> tuple[str, bool]:
    """An error in words, and whether it is more than the original's own: a softmax may decide otherwise by one bit."""
    if apart <= ROUNDING:
        return f"{apart:.1e}", False
    own = error(original, original, nudged=True)
    return f"{apart:.1e} (by one bit of the input: {own:.1e})", apart > 2 * own


def error(original: onnx.ModelProto, folded: onnx.ModelProto, *, nudged: bool = False) -> float:
    """Over inputs of three magnitudes, in units of the largest value of the output.

    Args:
        original: the model.
        folded: what it became.
        nudged: give the second one inputs that are larger by one bit.
    """
    sessions = [_session(model) for model in (original, folded)]
    entry = sessions[0].get_inputs()[0]
    shape = [dim if isinstance(dim, int) else 1 for dim in entry.shape]
    dtype = np.float16 if entry.type == "tensor(float16)" else np.float32
    worst = 0.0
    for scale in (1, 10, 100):
        x = (np.random.default_rng(0).standard_normal(shape) * scale).astype(dtype)
        fed = (x, np.nextafter(x, dtype(np.inf)) if nudged else x)
        left, right = (session.run(None, {entry.name: y}) for session, y in zip(sessions, fed, strict=True))
        for a, b in zip(left, right, strict=True):
            a64, b64 = a.astype(np.float64), b.astype(np.float64)
            worst = max(worst, float(np.abs(a64 - b64).max() / max(np.abs(a64).max(), 1e-30)))
    return worst


def _session(model: onnx.ModelProto) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])


def _print_zero_points() -> None:
    """Errors of original and folded, both against the original in float64, for one distance of the zero each."""
    print("| deviations from zero to mean | original | folded |")
    print("|--:|--:|--:|")
    for distance in DISTANCES:
        original, folded = _errors_at(distance)
        print(f"| {distance:g} | {original:.1e} | {folded:.1e} |")


def _errors_at(distance: float) -> list[float]:
    """Of x + conv(relu(bn(x))) with the BatchNorm's statistics those of x, against float64.

    In float32 alone: onnxruntime's CPU provider computes float16 convolutions in float32.
    """
    exact = _block(distance, "float64")
    model = _block(distance, "float32")
    with patch.dict(FARTHEST_ZERO, {24: np.inf}):
        _, folded, _ = _folded(model, across=True)
    x = np.random.default_rng(1).standard_normal((4, 16, 8, 8)).astype(np.float32)
    (truth,) = ReferenceEvaluator(exact).run(None, {"x": x.astype(np.float64)})
    results = (_session(candidate).run(None, {"x": x})[0].astype(np.float64) for candidate in (model, folded))
    return [float(np.abs(result - truth).max() / truth.std()) for result in results]


def _block(distance: float, dtype: str) -> onnx.ModelProto:
    network = Network()
    channels = 16

    def conv(source: str, output: str) -> str:
        weight = network.random.normal(size=(channels, channels, 1, 1)) / 4
        bias = np.zeros(channels)
        names = [network.constant(f"{output}.w", weight, dtype), network.constant(f"{output}.b", bias, dtype)]
        return network.node("Conv", [source, *names], output)

    stem = conv("x", "stem")
    values = {"scale": 1 / distance, "bias": 1.0, "mean": 0.0, "var": 1.0}
    names = [network.constant(f"n.{key}", np.full(channels, value), dtype) for key, value in values.items()]
    normed = network.node("BatchNormalization", [stem, *names], "n")
    branch = conv(network.node("Relu", [normed], "r"), "c")
    conv(network.node("Add", [stem, branch], "s"), "y")
    return network.model({"x": [4, channels, 8, 8]}, ["y"], dtype=dtype)


if __name__ == "__main__":
    sys.exit(main())
