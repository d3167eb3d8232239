"""Inject faults into correct folds and count which are caught: `python -m benchmarks.mutation MODEL... --faults 25`.

Run it from the root of the repository. Progress goes to stderr, the table to stdout. The exit status is 1 if bnfold
missed a fault or called a correct fold wrong.
"""

import argparse
import contextlib
import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from functools import partial
from multiprocessing import get_context
from pathlib import Path

import onnx

from benchmarks.mutation_table import as_markdown, as_text
from benchmarks.mutation_trial import OWN, Source, Task, Trial, missed, try_model
from tests.faults.float16 import to_float16
from tests.faults.networks import FLOAT32


def main() -> int:
    """Run, print, and return the exit status."""
    arguments = _arguments()
    sources = _sources(arguments)
    task = Task(arguments.faults, arguments.seed, arguments.correct, arguments.others)
    trials: list[Trial] = []
    with contextlib.suppress(KeyboardInterrupt):  # the table then shows what was done so far
        for trial in _trials(sources, task, arguments.jobs):
            trials.append(trial)
            print(f"{len(trials)} of {len(sources)}: {_progress(trial)}", file=sys.stderr)
    trials.sort(key=lambda trial: trial.model)
    for line in as_markdown(trials) if arguments.markdown else as_text(trials):
        print(line)
    if arguments.json:
        arguments.json.write_text(json.dumps([asdict(trial) for trial in trials], indent=1) + "\n")
    wrong = any(trial.called_wrong or trial.on_correct.get(OWN) for trial in trials)
    return 1 if wrong or missed(trials) else 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("models", nargs="*", type=Path, metavar="MODEL", help="ONNX files")
    parser.add_argument("--networks", action="store_true", help="small generated networks as well")
    parser.add_argument("--float16", action="store_true", help="each model in float16 as well")
    parser.add_argument("--faults", type=int, default=25, help="how many in each model, spread over the kinds")
    parser.add_argument("--seed", type=int, default=0, help="of folds, operators and channels")
    parser.add_argument("--correct", type=int, default=0, metavar="SEEDS", help="verify the correct folds so often")
    parser.add_argument("--others", action="store_true", help="ask onnxsim, OnnxSlim and Polygraphy as well")
    parser.add_argument("--jobs", type=int, default=1, help="how many processes")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write everything there")
    parser.add_argument("--markdown", action="store_true", help="print the table as Markdown")
    arguments = parser.parse_args()
    if not arguments.models and not arguments.networks:
        parser.error("give models, or --networks")
    return arguments


def _sources(arguments: argparse.Namespace) -> list[Source]:
    plain = [Source(path.stem, partial(onnx.load, str(path))) for path in arguments.models]
    if arguments.networks:
        plain += [Source(name, partial(build, arguments.seed)) for name, build in FLOAT32.items()]
    if not arguments.float16:
        return plain
    return [*plain, *(Source(f"{source.name} float16", partial(_in_float16, source)) for source in plain)]


def _in_float16(source: Source) -> onnx.ModelProto:
    return to_float16(source.make())


def _trials(sources: Sequence[Source], task: Task, jobs: int) -> Iterator[Trial]:
    attempt = partial(try_model, task=task)
    if jobs == 1:
        yield from map(attempt, sources)
        return
    with get_context("spawn").Pool(jobs) as pool:
        yield from pool.imap_unordered(attempt, sources)


def _progress(trial: Trial) -> str:
    if trial.left_out:
        return f"{trial.model} left out: {trial.left_out}"
    count = len(missed([trial]))
    checks = f"{trial.seconds_per_check:.2f} s a check, {trial.seconds:.0f} s in all"
    return f"{trial.model}: {len(trial.faults)} faults, {count} missed, {checks}"


if __name__ == "__main__":
    sys.exit(main())
