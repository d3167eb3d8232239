"""Two things that are timed in turns, so that whatever else the machine does meets both."""

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from bnfold.pulse import beat
from bnfold.timings import Latency, Spread

LEAST_RUNS = 10
_FEWEST_RUNS = 4
"""Of what takes so long that more would take more than the longest time."""
_LONGEST = 60.0
_WARM_UP = 3
_MOST_RUNS = 10_000


@dataclass(frozen=True)
class Turns:
    """Seconds of each run, of two things that took turns: those of one index ran one right after the other."""

    first: Sequence[float]
    second: Sequence[float]

    @property
    def ratios(self) -> list[float]:
        """Of the first to the second, turn by turn."""
        return [first / second for first, second in zip(self.first, self.second, strict=True)]


def take_turns(
    first: Callable[[], object],
    second: Callable[[], object],
    seconds: float,
    clock: Callable[[], float] | None = None,
) -> Turns:
    """Run both in turns, after some runs that do not count; who begins a turn alternates as well.

    Args:
        first: what to run; each call must end when its work is done.
        second: likewise.
        seconds: for which to go on, all runs together; ten turns are taken in any case, unless they take minutes.
        clock: by which a run is timed, such as time.process_time; None for time as it passes.
    """
    calls = (first, second)
    began = time.perf_counter()
    for call in calls * _WARM_UP:
        beat()
        call()
        if time.perf_counter() - began > _LONGEST / _WARM_UP:
            break
    spent: tuple[list[float], list[float]] = ([], [])
    began = time.perf_counter()
    while not _is_enough(len(spent[0]), time.perf_counter() - began, seconds):
        beat()
        order = (0, 1) if len(spent[0]) % 2 else (1, 0)
        for which in order:
            spent[which].append(_timed(calls[which], clock or time.perf_counter))
    return Turns(*spent)


def _is_enough(turns: int, passed: float, seconds: float) -> bool:
    if turns < LEAST_RUNS:
        return turns >= _FEWEST_RUNS and passed > max(seconds, _LONGEST)
    return passed >= seconds or turns >= _MOST_RUNS


def spread(values: Sequence[float]) -> Spread:
    """Quartiles of two values or more."""
    return Spread(*statistics.quantiles(values, n=4, method="inclusive"))


def _timed(call: Callable[[], object], clock: Callable[[], float]) -> float:
    began = clock()
    call()
    return max(clock() - began, time.get_clock_info("perf_counter").resolution)


def compared(setting: Latency, turns: Turns) -> Latency:
    """What was measured of a model and its fold, the original first."""
    return replace(
        setting,
        runs=len(turns.first),
        original=spread(turns.first),
        folded=spread(turns.second),
        speedup=spread(turns.ratios),
    )
