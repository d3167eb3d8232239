"""What the check costs, against one session of the model that runs once per sample.

    python -m benchmarks.verification [MODEL] [--rounds 9]

Without a model, a network of the shape of ResNet-50 is made. Both are timed in turn in one process, after one round
that does not count: by the clock, which other work on the machine stretches, and in processor time.
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import onnx
import onnxruntime

import bnfold
from benchmarks.resnet import resnet50
from bnfold.verifier import VerifyOptions

SAMPLES = VerifyOptions().samples


def baseline(path: Path) -> None:
    """Make one session at default settings and run it once per sample."""
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    rng = np.random.default_rng(0)
    for _ in range(SAMPLES):
        feeds = {
            port.name: rng.standard_normal([size if isinstance(size, int) else 1 for size in port.shape], np.float32)
            for port in session.get_inputs()
        }
        session.run(None, feeds)


def check(path: Path, folded: Path) -> None:
    """The whole check at its defaults."""
    verdict = bnfold.verify(path, folded)
    assert verdict.passed, verdict.problem


def seconds(work: Callable[[], None]) -> tuple[float, float]:
    """What some work takes, by the clock and of the processors."""
    started = time.perf_counter(), time.process_time()
    work()
    return time.perf_counter() - started[0], time.process_time() - started[1]


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
        rounds = [
            (seconds(partial(baseline, path)), seconds(partial(check, path, folded)))
            for _ in range(arguments.rounds + 1)
        ][1:]
        size = path.stat().st_size / 1e6
    print(f"{path.name}: {size:.0f} MB, {result.report.batch_norms.folded} folds, {SAMPLES} samples")
    for number, what in enumerate(("by the clock", "of the processors")):
        theirs, ours = (statistics.median(entry[which][number] for entry in rounds) for which in (0, 1))
        ratio = statistics.median(check[number] / base[number] for base, check in rounds)
        print(f"{what}: one session {theirs:.2f} s, the check {ours:.2f} s, {ratio:.1f} times as much")


if __name__ == "__main__":
    main()
