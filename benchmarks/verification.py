"""What the check costs, against one session of the model that runs once per sample.

    python -m benchmarks.verification [MODEL] [--rounds 9]

Without a model, a network of the shape of ResNet-50 is made. Both are timed in turn in one process, after one round
that does not count.
"""

import argparse
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np
import onnx
import onnxruntime

import bnfold
from benchmarks.resnet import resnet50
from bnfold.verifier import VerifyOptions

SAMPLES = VerifyOptions().samples


def baseline(path: Path) -> float:
    """Seconds to make one session at default settings and to run it once per sample."""
    started = time.perf_counter()
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    rng = np.random.default_rng(0)
    for _ in range(SAMPLES):
        feeds = {
            port.name: rng.standard_normal([size if isinstance(size, int) else 1 for size in port.shape], np.float32)
            for port in session.get_inputs()
        }
        session.run(None, feeds)
    return time.perf_counter() - started


def check(path: Path, folded: Path) -> float:
    """Seconds of the whole check at its defaults."""
    started = time.perf_counter()
    verdict = bnfold.verify(path, folded)
    seconds = time.perf_counter() - started
    assert verdict.passed, verdict.problem
    return seconds


def main() -> None:
    """Print medians and the ratio."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", nargs="?", type=Path)
    parser.add_argument("--rounds", type=int, default=9)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        path = arguments.model or Path(folder, "resnet50.onnx")
        if arguments.model is None:
            path.write_bytes(resnet50().SerializeToString())
        folded = Path(folder, "folded.onnx")
        result = bnfold.fold(path, verify=None)
        onnx.save(result.model, folded)
        pairs = [(baseline(path), check(path, folded)) for _ in range(arguments.rounds + 1)][1:]
        size = path.stat().st_size / 1e6
    ours, theirs = (statistics.median(column) for column in zip(*((b, a) for a, b in pairs), strict=True))
    ratio = statistics.median(b / a for a, b in pairs)
    print(f"{path.name}: {size:.0f} MB, {result.report.batch_norms.folded} folds, {SAMPLES} samples")
    print(f"one session, run once per sample  {theirs:6.2f} s")
    print(f"the check                         {ours:6.2f} s, {ratio:.1f} times as much")


if __name__ == "__main__":
    main()
