"""Faults in one model: fold it once, spoil the fold again and again, and ask every checker each time."""

import time
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
import onnx

from benchmarks.checkers import OTHERS, Checker, by_bnfold
from bnfold.api.formats.onnx import OnnxFormat
from bnfold.api.formats.onnx_models import OnnxFolded
from bnfold.api.options import FoldOptions
from bnfold.api.stopwatch import Stopwatch
from bnfold.errors import BnfoldError
from bnfold.verifier import VerifyOptions, check
from tests.faults.catalogue import KINDS, Fault, Spread
from tests.faults.sites import Subject

OWN = "bnfold"


@dataclass(frozen=True)
class Source:
    """A model to try, made where it is needed.

    Attributes:
        name: in tables.
        make: loads or builds it.
    """

    name: str
    make: Callable[[], onnx.ModelProto]


@dataclass(frozen=True)
class Task:
    """What to do with each model.

    Attributes:
        faults: how many to inject, at most.
        seed: of folds, operators and channels.
        correct_seeds: over how many seeds to verify the correct fold.
        others: ask the checkers of other tools as well.
    """

    faults: int
    seed: int
    correct_seeds: int
    others: bool


@dataclass(frozen=True)
class Judged:
    """One fault, and what each checker said of it: "" where it said nothing."""

    kind: str
    what: str
    verdicts: dict[str, str]


@dataclass
class Trial:
    """All that was seen of one model.

    Attributes:
        model: its name.
        left_out: why nothing was tried; "" where something was.
        batch_norms: folded and kept.
        faults: each fault.
        rejected: mutations that were no faults, by kind.
        absent: kinds that apply nowhere, and why.
        on_correct: what each checker said of the correct fold: "" where it rightly said nothing.
        correct_seeds: how many seeds the correct fold was verified with.
        called_wrong: what was said where that failed, by seed.
        seconds: all in all, and of one check by bnfold.
    """

    model: str
    left_out: str = ""
    batch_norms: tuple[int, int] = (0, 0)
    faults: list[Judged] = field(default_factory=list)
    rejected: dict[str, int] = field(default_factory=dict)
    absent: dict[str, str] = field(default_factory=dict)
    on_correct: dict[str, str] = field(default_factory=dict)
    correct_seeds: int = 0
    called_wrong: dict[int, str] = field(default_factory=dict)
    seconds: float = 0.0
    seconds_per_check: float = 0.0


def try_model(source: Source, task: Task) -> Trial:
    """Fold, verify the fold, and judge the faults."""
    started = time.perf_counter()
    trial = Trial(source.name)
    try:
        original = source.make()
        folded = OnnxFormat().hold(original, FoldOptions(merge_branches=False)).fold((), Stopwatch())
        trial.on_correct[OWN] = by_bnfold(original, folded.model)
    except BnfoldError as error:
        trial.left_out = str(error)
        return trial
    outcome = folded.outcome
    ways = outcome.folds, outcome.kept
    trial.batch_norms = tuple(sum(entry.is_batch_norm for entry in entries) for entries in ways)
    checkers: dict[str, Checker] = {OWN: by_bnfold, **(OTHERS if task.others else {})}
    trial.on_correct |= {name: ask(original, folded.model) for name, ask in checkers.items() if name != OWN}
    _verify_correct(trial, original, folded, task.correct_seeds)
    # The same faults whatever other models are tried beside this one.
    random = np.random.default_rng([task.seed, zlib.crc32(source.name.encode())])
    kinds = [str(kind) for kind in random.permutation(list(KINDS))]
    spread = Spread(Subject(original, folded.model, outcome.folds, outcome.kept), random, kinds)
    for fault in spread.draw(task.faults):
        trial.faults.append(_judge(trial, original, fault, checkers))
    trial.rejected, trial.absent = dict(spread.rejected), dict(spread.absent)
    trial.seconds = time.perf_counter() - started
    return trial


def _verify_correct(trial: Trial, original: onnx.ModelProto, folded: OnnxFolded, seeds: int) -> None:
    trial.correct_seeds = seeds
    a, b = original.SerializeToString(), folded.model.SerializeToString()
    for seed in range(seeds):
        result = check(a, b, VerifyOptions(seed=seed))
        if not result.passed:
            trial.called_wrong[seed] = result.problem


def _judge(trial: Trial, original: onnx.ModelProto, fault: Fault, checkers: dict[str, Checker]) -> Judged:
    verdicts = {}
    for name, ask in checkers.items():
        started = time.perf_counter()
        verdicts[name] = ask(original, fault.model)
        if name == OWN:
            spent = time.perf_counter() - started
            trial.seconds_per_check += (spent - trial.seconds_per_check) / (len(trial.faults) + 1)
    return Judged(fault.kind, fault.what, verdicts)


def missed(trials: Sequence[Trial]) -> list[tuple[str, Judged]]:
    """Every fault that bnfold took for a correct fold, with its model."""
    return [(trial.model, fault) for trial in trials for fault in trial.faults if not fault.verdicts[OWN]]
