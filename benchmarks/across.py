"""What folding across tensors that others read costs in planning: every model planned with it and without, in turns.

    python -m benchmarks.across MODEL.onnx ... [--rounds 3] [--before TREE]

Processor time of `fold_graph` alone, on a model that is open, the least of all rounds; BatchNorms that stay. TREE is
another checkout of bnfold, such as one from before folds went across, whose planning is timed on the same models.
"""

import argparse
import os
import subprocess
import sys
from pathlib import Path

_PLAN = """
import sys, time
from pathlib import Path
from bnfold.engine import fold_graph
from bnfold.frontends.onnx.file import open_model
from bnfold.frontends.onnx.port import OnnxPort

for _ in range(2):  # what the first one imports does not count
    opened = open_model(Path(sys.argv[1]))
    port = OnnxPort(opened.model, opened.store)
    began = time.process_time()
    outcome = fold_graph(port, **({"across": False} if sys.argv[2] == "without" else {}))
    seconds = time.process_time() - began
print(seconds, sum(kept.is_batch_norm for kept in outcome.kept))
"""
_HERE = Path(__file__).parent.parent
_WITH, _WITHOUT, _BEFORE = "with", "without", "before"


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="+", type=Path)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--before", type=Path, metavar="TREE")
    given = parser.parse_args()
    trees = {_WITH: _HERE, _WITHOUT: _HERE} | ({_BEFORE: given.before} if given.before else {})
    print("| model | stay | s | stay without | s | times |" + (" stay before | s | times |" if given.before else ""))
    print("|---|--:|--:|--:|--:|--:|" + ("--:|--:|--:|" if given.before else ""))
    for model in given.models:
        found = [{kind: _plan(model, kind, tree) for kind, tree in trees.items()} for _ in range(given.rounds)]
        least = {kind: min(entry[kind] for entry in found) for kind in trees}
        seconds, stay = least[_WITH]
        others = (f" {kept} | {other:.3f} | {seconds / other:.1f} |" for other, kept in list(least.values())[1:])
        print(f"| {model.stem} | {stay} | {seconds:.3f} |{''.join(others)}", flush=True)


def _plan(model: Path, kind: str, tree: Path) -> tuple[float, int]:
    """Seconds of processor time, and how many BatchNorms stay."""
    environment = {**os.environ, "PYTHONPATH": str(tree.resolve())}
    command = [sys.executable, "-c", _PLAN, str(model.resolve()), kind]
    said = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, env=environment, cwd=tree).stdout
    seconds, stay = said.split()
    return float(seconds), int(stay)


if __name__ == "__main__":
    main()
