"""bnfold beside the tools that people fold BatchNorms with: what each costs and leaves, and how fast its result is.

    python -m benchmarks.peers MODEL.onnx ... [--rounds 3] [--runs 30]

Run it in an environment with the peers: pip install bnfold onnxsim onnxslim onnxscript onnxoptimizer. Those that are
not there are left out. Every tool is a process of its own, from a file to a file, as its users call it; all take turns,
and the least of the rounds counts: processor time (user and system, of all threads), and the largest resident memory.
Then all results are loaded by onnxruntime at its default level, with one thread, and run in turns on one input; the
medians are compared. Nodes are counted without Constants, which one tool makes of initializers. "differs" is how far
the outputs are from those of the original without any optimisation, as a share of the largest.
"""

import argparse
import importlib.util
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    import onnx
    import onnxruntime

_OFFLINE = """
import sys, onnxruntime
options = onnxruntime.SessionOptions()
options.optimized_model_filepath = sys.argv[2]
options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
onnxruntime.InferenceSession(sys.argv[1], options, providers=["CPUExecutionProvider"])
"""
_COPY = "import sys, onnx; onnx.save(onnx.load(sys.argv[1]), sys.argv[2])"
_SCRIPT = """
import sys, onnx, onnxscript.optimizer
onnx.save(onnxscript.optimizer.optimize(onnx.load(sys.argv[1])), sys.argv[2])
"""
_SLIM = "from onnxslim.cli import main; main()"
_BASELINE = "onnx.load, onnx.save"
_TOOLS: Mapping[str, tuple[str, Sequence[str]]] = {
    _BASELINE: ("onnx", ["-c", _COPY, "{in}", "{out}"]),
    "bnfold": ("bnfold", ["-m", "bnfold", "-q", "{in}", "-o", "{out}"]),
    "bnfold --no-verify": ("bnfold", ["-m", "bnfold", "-q", "--no-verify", "{in}", "-o", "{out}"]),
    "onnxruntime, offline BASIC": ("onnxruntime", ["-c", _OFFLINE, "{in}", "{out}"]),
    "onnxoptimizer": ("onnxoptimizer", ["-m", "onnxoptimizer", "{in}", "{out}"]),
    "onnxscript": ("onnxscript", ["-c", _SCRIPT, "{in}", "{out}"]),
    "onnxslim": ("onnxslim", ["-c", _SLIM, "{in}", "{out}"]),
    "onnxsim": ("onnxsim", ["-m", "onnxsim", "{in}", "{out}"]),
}
"""By name: the package that it needs, and Python's arguments."""


@dataclass
class Result:
    """What one tool made of one model.

    Attributes:
        seconds: of processor time, each round.
        megabytes: the largest resident memory, each round.
        path: of the result, which is the same each round.
        problem: why there is none.
        seen: in the result, see `looked_at`.
    """

    path: Path
    seconds: list[float] = field(default_factory=list)
    megabytes: list[float] = field(default_factory=list)
    problem: str = ""
    seen: dict[str, Any] = field(default_factory=dict)


def main() -> int:
    """Print a table per model."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="+", type=Path)
    parser.add_argument("--rounds", type=int, default=3, help="of every tool")
    parser.add_argument("--runs", type=int, default=30, help="of every result; 0 for none")
    parser.add_argument("--look", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.look:
        print(json.dumps(looked_at(given.models, given.runs)))
        return 0
    packages = dict.fromkeys(package for package, _ in _TOOLS.values())
    print(", ".join(f"{name} {_version(name)}" for name in packages if name != "bnfold"))
    for model in given.models:
        with tempfile.TemporaryDirectory() as folder:
            results = made_by_tools(model, Path(folder), given.rounds)
            results[_BASELINE].path = model
            look(results, given.runs)
            show(model, results)
    return 0


def _version(package: str) -> str:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version(package)
    except PackageNotFoundError:
        return "(no version)" if importlib.util.find_spec(package) else "(not installed)"


def made_by_tools(model: Path, folder: Path, rounds: int) -> dict[str, Result]:
    """Run every tool that is there, in turns."""
    there = {name: arguments for name, (package, arguments) in _TOOLS.items() if importlib.util.find_spec(package)}
    results = {name: Result(folder / f"{place}.onnx") for place, name in enumerate(there)}
    for _ in range(rounds):
        for name, arguments in there.items():
            result = results[name]
            if result.problem:
                continue
            named = [text.replace("{in}", str(model)).replace("{out}", str(result.path)) for text in arguments]
            seconds, megabytes, problem = run(
                [*named, *(() if "{in}" in arguments else (str(model), str(result.path)))]
            )
            result.seconds.append(seconds)
            result.megabytes.append(megabytes)
            result.problem = problem or ("" if result.path.exists() else "wrote nothing")
    return results


def run(arguments: Sequence[str]) -> tuple[float, float, str]:
    """Processor time in seconds and memory in MB of a process, and why it failed."""
    environment = {**os.environ, "PYTHONWARNINGS": "ignore"}
    with tempfile.TemporaryFile() as said:
        process = subprocess.Popen([sys.executable, *arguments], stdout=said, stderr=said, env=environment)
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        said.seek(0)
        lines = said.read().decode(errors="replace").strip().splitlines() or ["nothing was said"]
    problem = f"exit {process.returncode}: {lines[-1][:100]}" if process.returncode else ""
    return usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1000, problem


def look(results: Mapping[str, Result], runs: int) -> None:
    """Let a process of its own look at the results: what this one holds would count as memory of the tools."""
    good = [result for result in results.values() if not result.problem]
    paths = [str(result.path) for result in good]
    command = [sys.executable, "-m", "benchmarks.peers", *paths, "--look", "--runs", str(runs)]
    said = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout
    for result, found in zip(good, json.loads(said), strict=True):
        result.seen = found


def looked_at(paths: Sequence[Path], runs: int) -> list[dict[str, float | str]]:
    """What is in each model and how long it takes, at onnxruntime's default level; the first one is the original."""
    import onnx

    plain = _session(paths[0], optimised=False)
    feeds = _feeds(plain)
    expected = plain.run(None, feeds)
    seen: list[dict[str, float | str]] = []
    sessions = {}
    for place, path in enumerate(paths):
        nodes = _nodes(onnx.load(path, load_external_data=False))
        kinds = [node.op_type for node in nodes if node.op_type != "Constant"]
        seen.append({"batch_norms": kinds.count("BatchNormalization"), "nodes": len(kinds)})
        try:
            sessions[place] = _session(path, optimised=True)
            seen[place]["differs"] = _apart(expected, sessions[place].run(None, feeds))
        except Exception as error:
            seen[place]["problem"] = f"onnxruntime does not run it: {str(error)[:80]}"
            sessions.pop(place, None)
    times: dict[int, list[float]] = {place: [] for place in sessions}
    for _ in range(runs):
        for place, session in sessions.items():
            began = time.perf_counter()
            session.run(None, feeds)
            times[place].append(time.perf_counter() - began)
    for place, taken in times.items():
        if taken:
            seen[place]["ms"] = 1000 * statistics.median(taken)
    return seen


def _session(path: Path, *, optimised: bool) -> "onnxruntime.InferenceSession":
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 4
    if not optimised:
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])


def _feeds(session: "onnxruntime.InferenceSession") -> "dict[str, np.ndarray]":
    import numpy as np

    rng = np.random.default_rng(0)
    shapes = {port.name: [size if isinstance(size, int) else 1 for size in port.shape] for port in session.get_inputs()}
    return {name: rng.normal(size=shape).astype(np.float32) for name, shape in shapes.items()}


def _apart(expected: "Sequence[np.ndarray]", got: "Sequence[np.ndarray]") -> float:
    pairs = zip(expected, got, strict=True)
    return max(float(abs(a - b).max(initial=0) / max(abs(a).max(initial=0), 1e-30)) for a, b in pairs)


def show(model: Path, results: Mapping[str, Result]) -> None:
    """Print the table of one model."""
    print(f"\n{model.name}, {model.stat().st_size / 1e6:.1f} MB\n")
    print("| tool | processor s | peak MB | BatchNorms | nodes | ms | differs |\n|---|--:|--:|--:|--:|--:|--:|")
    for name, result in results.items():
        problem = result.problem or result.seen.get("problem")
        if problem:
            print(f"| {name} | {problem} | | | | | |")
            continue
        cells = (
            f"{min(result.seconds):.2f}",
            f"{min(result.megabytes):.0f}",
            str(result.seen["batch_norms"]),
            str(result.seen["nodes"]),
            f"{result.seen['ms']:.2f}" if "ms" in result.seen else "",
            f"{result.seen['differs']:.0e}",
        )
        print(f"| {name} | {' | '.join(cells)} |")


def _nodes(model: "onnx.ModelProto") -> "Iterator[onnx.NodeProto]":
    """All of the graph, of bodies and of functions."""
    waiting = [*model.graph.node, *(node for function in model.functions for node in function.node)]
    while waiting:
        node = waiting.pop()
        yield node
        waiting += [inner for entry in node.attribute for graph in (entry.g, *entry.graphs) for inner in graph.node]


if __name__ == "__main__":
    sys.exit(main())
