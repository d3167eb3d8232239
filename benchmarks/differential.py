"""Fold many random graphs and compare each with onnxruntime: `python -m benchmarks.differential --seeds 100000`.

Run it from the root of the repository. Progress goes to stderr, a table of counts to stdout. The exit status is 1 if
a fold was wrong, invalid, crashed, made the graph longer or, of streams, left more BatchNorms or lost more digits than
plain folding; each such seed is then shrunk to a small model and printed.
"""

import argparse
import contextlib
import sys
from collections import Counter
from collections.abc import Iterator
from functools import partial
from multiprocessing import get_context

import onnx.printer

from tests.differential.compare import shrink
from tests.differential.tally import ANY, STREAMS, Finding, Kind, Tally, examine_seeds

_CHUNK = 250


def main() -> int:
    """Run, print, and return the exit status."""
    arguments = _arguments()
    seeds = range(arguments.start, arguments.start + arguments.seeds)
    kind = STREAMS if arguments.streams else ANY
    total = Tally()
    with contextlib.suppress(KeyboardInterrupt):  # the table then shows what was done so far
        for tally in _tallies(seeds, kind, arguments.jobs):
            total.merge(tally)
            for finding in tally.findings:
                print(f"\rseed {finding.seed} {finding.kind}: {_first_line(finding.evidence)}", file=sys.stderr)
            done = total.graphs + len(total.unusable)
            print(f"\r{done} of {arguments.seeds} graphs, {len(total.findings)} findings", end="", file=sys.stderr)
    print(file=sys.stderr)
    for line in _table(total):
        print(line)
    for finding in total.findings[: arguments.shrink]:
        _explain(finding, kind)
    return 1 if total.findings or total.unusable else 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--seeds", type=int, default=100_000, help="how many graphs")
    parser.add_argument("--start", type=int, default=0, help="the first seed")
    parser.add_argument("--streams", action="store_true", help="graphs of streams alone, whose tensors others read")
    parser.add_argument("--jobs", type=int, default=1, help="how many processes")
    parser.add_argument("--shrink", type=int, default=5, help="how many findings to shrink and print")
    return parser.parse_args()


def _tallies(seeds: range, kind: Kind, jobs: int) -> Iterator[Tally]:
    chunks = [seeds[start : start + _CHUNK] for start in range(0, len(seeds), _CHUNK)]
    if jobs == 1:
        yield from map(partial(examine_seeds, kind=kind), chunks)
        return
    with get_context("spawn").Pool(jobs) as pool:
        yield from pool.imap_unordered(partial(examine_seeds, kind=kind), chunks)


def _table(total: Tally) -> Iterator[str]:
    yield from _row("graphs", total.graphs)
    yield from _row("tensors compared", total.compared)
    yield from _row("not compared, behind a step of a quantizer", total.steps)
    yield from _row("errors beside those of plain folding", total.judged)
    yield from _row("BatchNorms found", total.batch_norms["found"])
    yield from _row("BatchNorms folded", total.batch_norms["folded"])
    for title, counts in (
        ("folds", total.folds),
        ("graphs with a fold", total.folded_graphs),
        ("passed", total.passed),
        ("absorbed by", total.absorbed),
    ):
        for key, count in sorted(counts.items(), key=lambda entry: (-entry[1], entry[0])):
            yield from _row(f"{title}: {key}", count)
    kinds = Counter(finding.kind for finding in total.findings)
    for key in ("wrong", "invalid", "crashed", "longer", "worse"):
        yield from _row(key, kinds[key])
    for seed, reason in total.unusable.items():
        yield f"seed {seed} has no usable model: {_first_line(reason)}"
    for finding in sorted(total.findings, key=lambda entry: entry.seed):
        yield f"seed {finding.seed} {finding.kind}: {_first_line(finding.evidence)}"


def _first_line(text: str) -> str:
    return text.partition("\n")[0]


def _row(title: str, count: int) -> Iterator[str]:
    yield f"{title:<48}{count:>12,}"


def _explain(finding: Finding, kind: Kind) -> None:
    smallest = shrink(kind.generate(finding.seed), finding.kind, kind.examine, finding.seed)
    print(f"\nseed {finding.seed} {finding.kind}: {finding.evidence}\n{onnx.printer.to_text(smallest)}")


if __name__ == "__main__":
    sys.exit(main())
