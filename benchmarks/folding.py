"""Folding without a check, whole processes: time and memory against onnx.load and onnx.save of the same file.

python benchmarks/folding.py                     # a network of 102 MB, as one file and with external data
python benchmarks/folding.py a.onnx b.onnx       # these models

Processor time (user and system) is compared, and the largest resident memory of any process, the minimum of all runs.
The commands take turns. Where data of an earlier run lies beside the result, bnfold compares it. All modules are
compiled beforehand, as pip does it.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

_COPY = "import sys, onnx; onnx.save(onnx.load(sys.argv[1]), sys.argv[2])"
_IMPORT = "import numpy, onnx"
_NETWORKS = """
import sys
import onnx
sys.path.insert(0, sys.argv[1])
from benchmarks.resnet import resnet50
onnx.save(resnet50(), sys.argv[2])
onnx.save(resnet50(), sys.argv[3], save_as_external_data=True, location="external.data")
"""


def main() -> None:
    """Print one table per model."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="*", type=Path)
    parser.add_argument("--runs", type=int, default=5, help="of each command")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        for model in given.models or _networks(Path(folder)):
            _report(model, Path(folder), given.runs)


def _networks(folder: Path) -> list[Path]:
    """Made by a process of its own: what this one holds would count as memory of those that it starts."""
    inside, outside = folder / "resnet50.onnx", folder / "external.onnx"
    _run(["-c", _NETWORKS, str(Path(__file__).parent.parent), str(inside), str(outside)], dict(os.environ))
    return [inside, outside]


def _report(model: Path, folder: Path, runs: int) -> None:
    results, empty = folder / "results", folder / "empty"
    results.mkdir(exist_ok=True)
    fold = ["-m", "bnfold", str(model), "--no-verify", "-q", "-o"]
    commands = {
        _IMPORT: ["-c", _IMPORT],
        "onnx.load, onnx.save": ["-c", _COPY, str(model), str(results / "copied.onnx")],
        "bnfold --no-verify": [*fold, str(results / "folded.onnx")],
        "bnfold --no-verify, into an empty folder": [*fold, str(empty / "folded.onnx")],
    }
    environment = {**os.environ, "PYTHONPYCACHEPREFIX": str(folder / "compiled"), "PYTHONDONTWRITEBYTECODE": ""}
    empty.mkdir(exist_ok=True)
    for arguments in commands.values():
        _run(arguments, environment)
    measured = {name: [] for name in commands}
    for _ in range(runs):
        for name, arguments in commands.items():
            shutil.rmtree(empty, ignore_errors=True)
            empty.mkdir()
            measured[name].append(_run(arguments, environment))
    size = sum(path.stat().st_size for path in (model, *model.parent.glob(f"{model.stem}.data")))
    print(f"\n{model.name}, {size / 1e6:.0f} MB\n\n| process | processor s | wall s | peak MB |\n|---|--:|--:|--:|")
    for name, found in measured.items():
        used, passed, peak = (min(values) for values in zip(*found, strict=True))
        print(f"| {name} | {used:.2f} | {passed:.2f} | {peak:.0f} |")


def _run(arguments: list[str], environment: dict[str, str]) -> tuple[float, float, float]:
    began = time.perf_counter()
    process = subprocess.Popen([sys.executable, *arguments], env=environment)
    _, status, usage = os.wait4(process.pid, 0)
    passed = time.perf_counter() - began
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{' '.join(arguments)}: exit code {process.returncode}")
    return usage.ru_utime + usage.ru_stime, passed, usage.ru_maxrss / 1000


if __name__ == "__main__":
    main()
