"""How long a model takes before and after a fold: what is asked, and what was measured, as values."""

from dataclasses import dataclass
from typing import Literal, get_args

from bnfold.errors import UsageError
from bnfold.kinds import NUMBER, TEXT, TEXTS, WHOLES, check_kinds

Level = Literal["disabled", "basic", "extended", "all"]
"""How much onnxruntime may change a graph before it runs it; "all" is what a session does by itself."""

LEVELS: tuple[Level, ...] = get_args(Level)


@dataclass(frozen=True)
class BenchOptions:
    """How to time a model and its fold.

    Attributes:
        levels: of onnxruntime's optimisations; each is timed.
        threads: numbers of threads that compute one operator; each is timed.
        seconds: for which both models are run at each level and number of threads, at least ten times.
        provider: onnxruntime's execution provider.

    Raises:
        UsageError: a value is of another kind, a number is out of its range, or a level unknown.
    """

    levels: tuple[Level, ...] = ("all",)
    threads: tuple[int, ...] = (1,)
    seconds: float = 2.0
    provider: str = "CPUExecutionProvider"

    def __post_init__(self) -> None:
        check_kinds(self, {"levels": TEXTS, "threads": WHOLES, "seconds": NUMBER, "provider": TEXT})
        unknown = [level for level in self.levels if level not in LEVELS]
        if unknown or not self.levels:
            raise UsageError(f"levels must be of {', '.join(LEVELS)}, got {unknown or 'none'}")
        if not self.threads or min(self.threads) < 1:
            raise UsageError(f"threads must be 1 or more, got {self.threads}")
        if not 0 <= self.seconds < float("inf"):
            raise UsageError(f"seconds must be 0 or more, got {self.seconds}")


@dataclass(frozen=True)
class Spread:
    """What was measured many times: half of it lies between the two outer numbers.

    Attributes:
        low: first quartile.
        median: second quartile.
        high: third quartile.
    """

    low: float
    median: float
    high: float


@dataclass(frozen=True)
class Latency:
    """A model and its fold, run in turns on the same inputs.

    Attributes:
        runtime: what ran them, such as "onnxruntime" or "torch".
        setting: how: a level of optimisations, or "eager", "CUDA graph".
        device: on what: an execution provider of onnxruntime, or a device of torch.
        threads: that compute one operator; 0 on a device of its own.
        runs: of each model.
        original, folded: seconds for one run.
        speedup: seconds of the original over those of the fold, run by run.
        problem: why nothing was measured; "" where something was.
    """

    runtime: str
    setting: str
    device: str
    threads: int
    runs: int = 0
    original: Spread = Spread(0.0, 0.0, 0.0)
    folded: Spread = Spread(0.0, 0.0, 0.0)
    speedup: Spread = Spread(1.0, 1.0, 1.0)
    problem: str = ""

    @property
    def verdict(self) -> Literal["faster", "slower", "as fast", "not measured"]:
        """Of the fold; "as fast" where half of all runs do not say one or the other."""
        if self.problem:
            return "not measured"
        if self.speedup.low > 1:
            return "faster"
        return "slower" if self.speedup.high < 1 else "as fast"
