"""Fold every model below a folder on a Dask cluster.

    python fold_on_dask.py MODELS RESULTS                                    a cluster on this machine
    python fold_on_dask.py MODELS RESULTS --scheduler tcp://10.0.0.1:8786    one that is there
    python fold_on_dask.py MODELS RESULTS -- --no-verify --lower conv        options for bnfold

Workers need bnfold, and both folders under the same paths. A line of JSON per model goes to standard output as soon as
it is done, and to RESULTS/folded.jsonl in the end. The exit status is the worst of bnfold's.
"""

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path

from distributed import Client, as_completed

ENDINGS = (".onnx", ".pt", ".pt2")
WORST_LAST = (0, 4, 5, 1, 2, 3, 70)


def fold(source, target, options):
    """Fold one model on a worker, in a process of its own: a worker has threads, and bnfold forks."""
    target = Path(target)
    target.parent.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "bnfold", str(source), "-o", str(target), "--report", "-", "-q", *options]
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"})
    line = {"model": str(source), "result": None, "exit_code": done.returncode, "said": done.stderr.strip()}
    for report in json.loads(done.stdout)["models"] if done.stdout else []:
        line |= {"result": report["output"], "found": report["batch_norms"]["found"]}
        line |= {"folded": report["batch_norms"]["folded"]}
    return line


def models_below(folder):
    """Files that bnfold reads, without its own results."""
    found = (path for path in sorted(folder.rglob("*")) if path.suffix in ENDINGS and path.is_file())
    return [path for path in found if not path.stem.endswith(".folded")]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", type=Path)
    parser.add_argument("results", type=Path)
    parser.add_argument("--scheduler", help="its address; without, workers of this machine")
    parser.add_argument("--workers", type=int, help="how many of this machine")
    own = sys.argv[1:]
    place = own.index("--") if "--" in own else len(own)
    given, options = parser.parse_args(own[:place]), own[place + 1 :]
    models, results = given.models.resolve(), given.results.resolve()
    sources = models_below(models)
    local = {"n_workers": given.workers, "threads_per_worker": 1, "dashboard_address": None}
    with Client(given.scheduler) if given.scheduler else Client(**local) as client:
        targets = [results / source.relative_to(models) for source in sources]
        # A worker that is lost does not matter: its model is folded again, and results come whole or not at all.
        futures = client.map(fold, sources, targets, options=options, pure=False)
        lines = []
        for future in as_completed(futures):
            lines.append(future.result())
            print(json.dumps(lines[-1]), flush=True)
    results.mkdir(parents=True, exist_ok=True)
    lines.sort(key=lambda line: line["model"])
    (results / "folded.jsonl").write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    codes = [line["exit_code"] for line in lines]
    return max(codes, key=lambda code: WORST_LAST.index(code) if code in WORST_LAST else len(WORST_LAST), default=0)


if __name__ == "__main__":
    sys.exit(main())
