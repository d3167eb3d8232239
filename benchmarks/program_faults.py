"""Faults in programs of torch, asked of the check: traced, scripted and exported, in float32 and float16.

    python -m benchmarks.program_faults --seeds 3 --correct 20

Prints a table of Markdown, and a line for every fault that was missed and every right fold that was called wrong. Only
the parts of the programs are compared here, not their outputs: a fault has to be found where it is.
"""

import argparse
import sys
from collections import Counter
from collections.abc import Callable

import torch

from bnfold.verifier.programs.opening import open_program
from bnfold.verifier.programs.parts.prove import Prover
from tests.faults.programs import (
    KINDS,
    NETWORKS,
    WAYS,
    Network,
    compiled,
    faults,
    folded,
    network,
    with_numbers,
)

_DTYPES = (torch.float32, torch.float16)


def main() -> int:
    arguments = _arguments()
    torch.set_num_threads(1)
    injected: Counter[tuple[str, str]] = Counter()
    caught: Counter[tuple[str, str]] = Counter()
    correct = wrong = 0
    for name in NETWORKS:
        for dtype in _DTYPES:
            for number in range(max(arguments.seeds, arguments.correct)):
                seed = arguments.start + number
                for way in WAYS:
                    original = network(name, seed, dtype)
                    passes = check_of(original, way, seed)
                    where = f"{name}, {str(dtype)[6:]}, {way}, seed {seed}"
                    if name != "padded" and number < arguments.correct:
                        correct += 1
                        if not passes(folded(original)):
                            wrong += 1
                            print(f"called wrong: {where}", flush=True)
                    for kind, faulty in faults(original, seed) if number < arguments.seeds else ():
                        injected[kind, way] += 1
                        if passes(faulty):
                            print(f"missed: {kind} in {where}", flush=True)
                        else:
                            caught[kind, way] += 1
    print("\n".join(table(injected, caught)))
    print(f"\n{correct} checks of right folds, {wrong} called wrong.")
    return int(wrong > 0 or injected != caught)


def check_of(original: Network, way: str, seed: int) -> Callable[[Network], bool]:
    """Whether the check finds nothing wrong in any part of a new network; all of these are of the same operators."""
    ours = open_program("a", compiled(original, way))
    graph = ours.graph()
    drawn = torch.randn(original.sample, generator=torch.Generator().manual_seed(seed))
    sample = drawn.to(next(original.parameters()).dtype)
    seen = ours.observe(graph, [sample])
    programs: list[object] = []

    def passes(new: Network) -> bool:
        if not programs:
            programs.append(compiled(new, way))
        theirs = open_program("b", with_numbers(programs[0], new))
        found = Prover(graph, theirs.graph(), seen, seed).run()
        return not found.unread and all(check.passed for check in found.checks)

    return passes


def table(injected: Counter[tuple[str, str]], caught: Counter[tuple[str, str]]) -> list[str]:
    """Caught of injected, by kind and form."""
    lines = [f"| fault | {' | '.join(WAYS)} |", f"|---|{'--:|' * len(WAYS)}"]
    for kind in (*KINDS, "all"):
        cells = []
        for way in WAYS:
            kinds = [kind] if kind in KINDS else list(KINDS)
            cells.append(f"{sum(caught[each, way] for each in kinds)} of {sum(injected[each, way] for each in kinds)}")
        lines.append(f"| {kind} | {' | '.join(cells)} |")
    return lines


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=3, help="of networks with faults")
    parser.add_argument("--start", type=int, default=0, help="the first seed")
    parser.add_argument("--correct", type=int, default=20, help="of networks that are folded rightly")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
