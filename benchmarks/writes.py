"""Fold many random programs that write to memory, and run each beside its original three times in a row.

    python -m benchmarks.writes --seeds 2000                 scripted, traced and exported
    python -m benchmarks.writes --way traced --start 57 --seeds 1 --show

Run it from the root of the repository. The exit status is 1 if anything that can be seen differs: results, state,
inputs that were written to, and what became of the results of earlier calls.
"""

import argparse
import logging
import sys
from collections import Counter

from tests.writes.compare import WAYS, examine
from tests.writes.generator import source_of


def main() -> int:
    """Run, print, and return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=1000, help="how many programs of each way")
    parser.add_argument("--start", type=int, default=0, help="the first seed")
    parser.add_argument("--way", choices=WAYS, action="append", help="only this one")
    parser.add_argument("--show", action="store_true", help="print the programs")
    chosen = parser.parse_args()
    logging.disable(logging.WARNING)
    wrong = 0
    print(f"{'':10}{'programs':>10}{'BatchNorms':>12}{'folded':>8}{'wrong':>7}{'not taken by torch':>20}")
    for way in chosen.way or WAYS:
        counts: Counter[str] = Counter()
        for seed in range(chosen.start, chosen.start + chosen.seeds):
            if chosen.show:
                print(source_of(seed, way))
            found = examine(seed, way)
            counts["unusable" if found.unusable else "programs"] += 1
            counts.update(found=found.found, folded=found.folded, wrong=bool(found.problem))
            if found.problem:
                print(f"seed {seed}, {way}: {found.problem}", file=sys.stderr, flush=True)
        wrong += counts["wrong"]
        cells = (counts["programs"], counts["found"], counts["folded"], counts["wrong"], counts["unusable"])
        print(f"{way:10}{cells[0]:>10}{cells[1]:>12}{cells[2]:>8}{cells[3]:>7}{cells[4]:>20}", flush=True)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
