"""Start-up: what a call costs before and beside its work, against what the libraries alone take to be imported.

python benchmarks/startup.py            # the table of docs/performance.md
python benchmarks/startup.py --runs 40

Each command is a process of its own, and the commands take turns. Processor time (user and system) is compared, the
minimum of all runs, because a busy machine adds to the wall clock and not to that. All modules are compiled beforehand,
as pip does it.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import onnx
import onnx.helper
import onnx.numpy_helper

_CHANNELS = 32


@dataclass
class Command:
    """One row of the table.

    Attributes:
        name: of the row.
        arguments: of the interpreter.
        base: name of the row that it is compared with.
        seconds: of processor time, and of the wall clock, in each run.
    """

    name: str
    arguments: list[str]
    base: str = ""
    seconds: list[tuple[float, float]] = field(default_factory=list)

    @property
    def best(self) -> tuple[float, float]:
        """The least processor time and the least wall-clock time."""
        used, passed = zip(*self.seconds, strict=True)
        return min(used), min(passed)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=6, help="of each command")
    runs = parser.parse_args().runs
    with tempfile.TemporaryDirectory() as folder:
        model = Path(folder, "small.onnx")
        onnx.save(small_network(), model)
        commands = _commands(model)
        environment = {**os.environ, "PYTHONPYCACHEPREFIX": folder, "PYTHONDONTWRITEBYTECODE": ""}
        for command in commands:
            _run(command.arguments, environment)
        for _ in range(runs):
            for command in commands:
                command.seconds.append(_run(command.arguments, environment))
    print(f"model of {model.name}: {small_network().ByteSize() / 1000:.0f} kB, minimum of {runs} runs\n")
    print("| process | processor s | wall s | times |\n|---|--:|--:|--:|")
    by_name = {command.name: command for command in commands}
    for command in commands:
        used, passed = command.best
        times = f"{used / by_name[command.base].best[0]:.2f}" if command.base else ""
        print(f"| {command.name} | {used:.3f} | {passed:.3f} | {times} |")


def _commands(model: Path) -> list[Command]:
    click, libraries = "import click", "import numpy, onnx"
    bnfold = ["-m", "bnfold"]
    folded = str(model.with_name("out.onnx"))
    return [
        Command(click, ["-c", click]),
        Command("bnfold --version", [*bnfold, "--version"], click),
        Command("bnfold --help", [*bnfold, "--help"], click),
        Command(libraries, ["-c", libraries]),
        Command("bnfold --dry-run", [*bnfold, str(model), "--dry-run"], libraries),
        Command("bnfold --no-verify", [*bnfold, str(model), "--no-verify", "-o", folded], libraries),
        Command("bnfold", [*bnfold, str(model), "-o", folded], libraries),
    ]


def _run(arguments: list[str], environment: dict[str, str]) -> tuple[float, float]:
    began = time.perf_counter()
    process = subprocess.Popen([sys.executable, *arguments], stdout=subprocess.DEVNULL, env=environment)
    _, status, usage = os.wait4(process.pid, 0)
    passed = time.perf_counter() - began
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{' '.join(arguments)}: exit code {process.returncode}")
    return usage.ru_utime + usage.ru_stime, passed


def small_network() -> onnx.ModelProto:
    """Three convolutions with BatchNorms, about 100 kB."""
    random = np.random.default_rng(0)
    nodes, stored, source, width = [], [], "x", 3
    for number in range(3):
        weight = random.normal(size=(_CHANNELS, width, 3, 3)).astype(np.float32)
        stored.append(onnx.numpy_helper.from_array(weight, f"w{number}"))
        nodes.append(onnx.helper.make_node("Conv", [source, f"w{number}"], [f"c{number}"]))
        names = [f"{name}{number}" for name in ("scale", "bias", "mean", "variance")]
        for name in names:
            values = random.uniform(0.5, 2, _CHANNELS).astype(np.float32)
            stored.append(onnx.numpy_helper.from_array(values, name))
        nodes.append(onnx.helper.make_node("BatchNormalization", [f"c{number}", *names], [f"n{number}"]))
        nodes.append(onnx.helper.make_node("Relu", [f"n{number}"], [f"r{number}"]))
        source, width = f"r{number}", _CHANNELS
    ports = [
        [onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, shape)]
        for name, shape in (("x", [1, 3, 32, 32]), (source, [1, _CHANNELS, 26, 26]))
    ]
    graph = onnx.helper.make_graph(nodes, "small", *ports, initializer=stored)
    return onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=8)


if __name__ == "__main__":
    main()
