"""Merge many random regions of parallel branches: `python -m benchmarks.branch_regions --seeds 50000`.

Run it from the root of the repository. Prints how many regions merged, why others stayed apart, and every seed whose
outputs differ. The exit status is 1 if there is one.
"""

import argparse
import sys
from collections import Counter

from tests.merging.judge import Tally, examine

_CHUNK = 250


def main() -> int:
    """Run, print, and return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--seeds", type=int, default=50_000, help="how many regions")
    parser.add_argument("--start", type=int, default=0, help="the first seed")
    arguments = parser.parse_args()
    total = Tally()
    stop = arguments.start + arguments.seeds
    for start in range(arguments.start, stop, _CHUNK):
        tally = examine(range(start, min(start + _CHUNK, stop)))
        total.regions += tally.regions
        total.merged += tally.merged
        total.branches += tally.branches
        total.reasons += tally.reasons
        total.findings += tally.findings
        for finding in tally.findings:
            print(finding, flush=True)
        print(f"\r{total.regions} regions, {len(total.findings)} findings", end="", file=sys.stderr, flush=True)
    print(file=sys.stderr)
    print(f"{total.regions} regions, of which {total.merged} merged; {len(total.findings)} wrong")
    _print("branches in one", total.branches)
    _print("apart because", total.reasons)
    return 1 if total.findings else 0


def _print(title: str, counts: Counter[int] | Counter[str]) -> None:
    entries = ", ".join(f"{name}: {count}" for name, count in sorted(counts.items(), key=lambda entry: -entry[1]))
    print(f"{title}: {entries}")


if __name__ == "__main__":
    sys.exit(main())
