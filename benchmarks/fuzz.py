"""Damaged and hostile model files: each must end in an exit code that is meant, with one line, and nothing else.

    python -m benchmarks.fuzz --kind onnx --cases 3000 --seed 0 --jobs 2 [--keep FOLDER]
    python -m benchmarks.fuzz --kind programs --cases 3000

Small valid models are made and mutated: ONNX as protobuf messages (numbers, names, types, nodes, tensors, external
data) and as bytes, programs of PyTorch by the parts of their archives (JSON, pickles, code, storages), by the headers
of the zip, and as bytes. Each goes through the command as its users call it, with limits of time and memory, two
thirds of them with the check. A finding is

- an exit code other than 0, 2, 3 and 5: 1 says that a result differs from its original, which nothing that is read
  correctly and folded correctly does;
- more than one line of error, or a traceback;
- a file that is left behind, or one of the input that has changed;
- a process that crashes or hangs, or takes much more time or memory than it was allowed.
"""

import argparse
import contextlib
import io
import resource
import subprocess
import sys
import tempfile
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from benchmarks import fuzz_onnx, fuzz_programs
from bnfold.cli.main import main as bnfold

_MEANT = (0, 2, 3, 5)
_LIMITS = ("-q", "--time-limit", "30", "--memory-limit", "2GiB")
_MOST_SECONDS = 150
"""Processor time of one case: 30 s are allowed for each of its steps."""
_MOST_MEMORY = 3 * 2**30
"""Bytes: what is allowed, and the libraries themselves."""
_LONGEST = 120
"""Seconds for one case, after which it hangs."""
_BATCH = 50


@dataclass(frozen=True)
class Case:
    """Files, of which the first one is the model, and options to fold it with."""

    files: dict[str, bytes]
    options: tuple[str, ...] = ()


def case(kind: str, seed: int, bases: Path) -> Case:
    """The case of a seed."""
    unchecked = ("--no-verify",) if seed % 3 == 0 else ()
    if kind == "onnx":
        return Case(fuzz_onnx.case(seed), unchecked)
    program = fuzz_programs.case(seed, bases)
    return Case({program.name: program.content}, (*program.options, *unchecked))


def fault_of(given: Case, folder: Path) -> str:
    """Run the command on a case; what is wrong with the answer, and "" if nothing is."""
    for name, content in given.files.items():
        (folder / name).write_bytes(content)
    model = folder / next(iter(given.files))
    target = f"out{model.suffix}"
    said = io.StringIO()
    seconds, memory = _used()
    with contextlib.redirect_stderr(said), contextlib.redirect_stdout(io.StringIO()):
        code = bnfold([str(model), "-o", str(folder / target), *_LIMITS, *given.options])
    seconds, most_memory = _used()[0] - seconds, _used()[1]
    errors = [line for line in said.getvalue().splitlines() if ": warning: " not in line]
    left = {entry.name for entry in folder.iterdir()} - {*given.files, target, f"{target}.data"}
    changed = [name for name, content in given.files.items() if (folder / name).read_bytes() != content]
    faults = (
        (code not in _MEANT, f"exit {int(code)}: {said.getvalue()[:400]!r}"),
        (code != 0 and (folder / target).exists(), f"exit {int(code)}, and a result"),
        (len(errors) > 1, f"{len(errors)} lines: {said.getvalue()[:400]!r}"),
        (bool(left), f"left behind: {sorted(left)}"),
        (bool(changed), f"the input has changed: {changed}"),
        (seconds > _MOST_SECONDS, f"took {seconds:.0f} s of processor time"),
        (most_memory > max(memory, _MOST_MEMORY), f"took {most_memory / 2**30:.1f} GiB of memory"),
    )
    return next((fault for is_one, fault in faults if is_one), "")


def _used() -> tuple[float, int]:
    """Processor time of all children so far, and the most memory of one, in bytes."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime, used.ru_maxrss * 1024


def work(kind: str, first: int, count: int, bases: Path) -> None:
    """Run some seeds, and print a line for each before it and behind it."""
    if kind == "programs":
        from bnfold.guard import import_unused

        for package in ("torch", "torch._export.serde.serialize", "torch.onnx"):
            import_unused(package)
    for seed in range(first, first + count):
        print(f"begin {seed}", flush=True)
        with tempfile.TemporaryDirectory() as folder:
            print(f"end {seed} {fault_of(case(kind, seed, bases), Path(folder))}", flush=True)


def _batch(kind: str, first: int, count: int, bases: Path) -> dict[int, str]:
    """The faults of some seeds, run in a process of their own."""
    arguments = ["--kind", kind, "--work", str(first), str(count), str(bases)]
    command = [sys.executable, "-m", "benchmarks.fuzz", *arguments]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_LONGEST * count // 5)
        output, ending = done.stdout, f"the process ended with {done.returncode}: {done.stderr[-300:]!r}"
    except subprocess.TimeoutExpired as error:
        output, ending = (error.stdout or b"").decode(), "hangs"
    faults: dict[int, str] = {}
    for line in output.splitlines():
        what, seed, *fault = line.split(" ", 2)
        faults[int(seed)] = ending if what == "begin" else (fault[0] if fault else "")
    return faults


def _run(arguments: argparse.Namespace, bases: Path) -> int:
    starts = range(arguments.seed, arguments.seed + arguments.cases, _BATCH)
    found: dict[int, str] = {}
    count = 0
    with ThreadPoolExecutor(arguments.jobs) as pool:
        for faults in pool.map(lambda first: _batch(arguments.kind, first, _BATCH, bases), starts):
            count += len(faults)
            for seed, fault in faults.items():
                if fault:
                    found[seed] = fault
                    print(f"{seed}: {fault}", flush=True)
                    _keep(arguments.keep, seed, case(arguments.kind, seed, bases))
            print(f"{count} files", file=sys.stderr, flush=True)
    kinds = Counter(fault[:80] for fault in found.values())
    print(f"{count} files, {len(found)} findings of {len(kinds)} kinds")
    return 1 if found else 0


def _keep(folder: Path | None, seed: int, found: Case) -> None:
    if folder is not None:
        (folder / str(seed)).mkdir(parents=True, exist_ok=True)
        for name, content in found.files.items():
            (folder / str(seed) / name).write_bytes(content)


def main() -> int:
    """Parse the command line, and run."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--kind", choices=("onnx", "programs"), default="onnx")
    parser.add_argument("--cases", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--keep", type=Path, help="a folder for the files of findings")
    parser.add_argument("--work", nargs=3, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.work:
        first, count, bases = arguments.work
        work(arguments.kind, int(first), int(count), Path(bases))
        return 0
    with tempfile.TemporaryDirectory() as folder:
        if arguments.kind == "programs":
            fuzz_programs.make_bases(Path(folder))
        return _run(arguments, Path(folder))


if __name__ == "__main__":
    sys.exit(main())
