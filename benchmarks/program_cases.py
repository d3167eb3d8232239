"""Files of PyTorch programs, folded by the command in a process of its own, and compared with what they were.

    python -m benchmarks.program_cases CASES.json
    python -m benchmarks.program_cases model.pt --options "--shape x=1,3,224,224"

CASES.json maps names of files beside it to {"options": "...", "batch_norms": N, "left": M}; the last two are what is
right, where somebody knows. Each file is folded and each result opened in fresh processes. Over three calls in a row,
on five kinds of inputs, the outputs, the inputs that were written to and the state of both programs are compared.
"""

import argparse
import json
import shlex
import subprocess
import sys
import tempfile
from itertools import pairwise
from pathlib import Path
from typing import Any

_CALLS = 3
_KINDS = ("normal", "large", "negative", "zeros", "constant")
_TOLERANCE = 1e-4


def main() -> int:
    arguments = _arguments()
    if arguments.compare:
        print(compared(*map(Path, arguments.files), arguments.options))
        return 0
    wrong = 0
    for path, case in cases(arguments.files, arguments.options):
        text, is_wrong = tried(path, case)
        wrong += is_wrong
        print(f"{'WRONG' if is_wrong else 'ok':5} {path.name:38} {text}", flush=True)
    return int(wrong > 0)


def cases(files: list[str], options: str) -> list[tuple[Path, dict[str, Any]]]:
    """Each file with what is known of it."""
    found: list[tuple[Path, dict[str, Any]]] = []
    for path in map(Path, files):
        if path.suffix == ".json":
            found += [(path.parent / name, case) for name, case in json.loads(path.read_text()).items()]
        else:
            found.append((path, {"options": options}))
    return found


def tried(path: Path, case: dict[str, Any]) -> tuple[str, bool]:
    """What happens to one file, in a line, and whether it is wrong."""
    options = shlex.split(case.get("options", ""))
    with tempfile.TemporaryDirectory() as folder:
        new, report = Path(folder) / path.name, Path(folder) / "report.json"
        command = [sys.executable, "-m", "bnfold", str(path), "-o", str(new), "--report", str(report), *options]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode or not new.exists():
            lines = done.stderr.strip().splitlines()
            return f"exit {done.returncode}: {lines[-1][:160] if lines else ''}", True
        norms = json.loads(report.read_text())["models"][0]["batch_norms"]
        told = f"{norms['folded']} of {norms['found']} folded"
        again = [sys.executable, "-m", "benchmarks.program_cases", "--compare", "--options", shlex.join(options)]
        asked = subprocess.run([*again, str(path), str(new)], capture_output=True, text=True, check=False)
    answer = asked.stdout.strip() or (asked.stderr.strip().splitlines() or ["no answer"])[-1][:160]
    left = norms["found"] - norms["folded"]
    more = case.get("batch_norms", norms["found"]) != norms["found"] or left > case.get("left", left)
    return f"{told}; {answer}", answer != "equal" or more


def compared(original: Path, new: Path, options: str) -> str:
    """ "equal", or the first difference between two files."""
    import numpy as np

    programs = [_opened(path, options) for path in (original, new)]
    for kind in _KINDS:
        rng = np.random.default_rng(_KINDS.index(kind))
        row = [[_drawn(port, kind, rng) for port in programs[0].ports] for _ in range(_CALLS)]
        for number, calls in enumerate(zip(*(program.calls(row) for program in programs), strict=True)):
            ours, theirs = (_everything(call) for call in calls)
            if ours.keys() != theirs.keys():
                return f"other results on {kind}: {sorted(ours.keys() ^ theirs.keys())}"
            for name, value in ours.items():
                if not _near(value, theirs[name]):
                    return f"{name} differs on {kind} values in call {number + 1}"
    return "equal"


def _opened(path: Path, options: str) -> Any:  # noqa: ANN401 - a program of the verifier
    from bnfold.api.formats.registry import format_of_file
    from bnfold.cli.main import parse_shape
    from bnfold.frontends.torch_export.file import open_program as open_exported
    from bnfold.frontends.torchscript.file import open_script
    from bnfold.verification import VerifyOptions
    from bnfold.verifier.programs.inputs import choose_feed
    from bnfold.verifier.programs.opening import open_program

    words = shlex.split(options)
    shapes = dict(parse_shape(value) for word, value in pairwise(words) if word == "--shape")
    model = open_exported(path) if format_of_file(path).name == "torch_export" else open_script(path)
    program = open_program(path.name, model, list(shapes))
    program.ports = choose_feed(program, VerifyOptions(shapes=shapes)).ports
    return program


def _drawn(port: Any, kind: str, rng: Any) -> Any:  # noqa: ANN401 - a port of the verifier, a generator
    import numpy as np
    import torch

    if not port.is_tensor:
        return port.constant
    values = {
        "normal": lambda: rng.standard_normal(port.sizes),
        "large": lambda: 50 * rng.standard_normal(port.sizes),
        "negative": lambda: -np.abs(rng.standard_normal(port.sizes)),
        "zeros": lambda: np.zeros(port.sizes),
        "constant": lambda: np.full(port.sizes, 0.7),
    }[kind]()
    if port.dtype.kind in "iub":
        values = rng.integers(0, 2, port.sizes)
    return torch.from_numpy(np.asarray(values).astype(np.float32 if port.dtype.kind == "V" else port.dtype))


def _everything(call: Any) -> dict[str, object]:  # noqa: ANN401 - a call of the verifier
    return {**call.results, **{name: call.left[name] for name in call.changed}}


def _near(a: Any, b: Any) -> bool:  # noqa: ANN401 - arrays and plain values
    import numpy as np

    if not isinstance(a, np.ndarray):
        return bool(a == b)
    if not isinstance(b, np.ndarray) or a.shape != b.shape or a.dtype != b.dtype:
        return False
    if a.dtype.kind in "iub":
        return bool(np.array_equal(a, b))
    left, right = a.astype(np.float64), b.astype(np.float64)
    rough = 200 * _TOLERANCE if a.dtype.itemsize < 4 else _TOLERANCE
    return bool(np.nanmax(np.abs(left - right), initial=0.0) <= rough * np.nanmax(np.abs(left), initial=1e-30))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="+", help="programs, or a CASES.json")
    parser.add_argument("--options", default="", help="for bnfold, for all files that are no CASES.json")
    parser.add_argument("--compare", action="store_true", help=argparse.SUPPRESS)
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
