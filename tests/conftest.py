"""What holds for every test: the same numbers on every run, and an end.

Hypothesis profiles: "ci" draws the same examples every time, "deep" searches further.
"""

import gc
import os
import signal
import sys
import threading

import pytest
from hypothesis import settings

settings.register_profile("ci", max_examples=50, derandomize=True, deadline=None, database=None)
settings.register_profile("deep", max_examples=2000, deadline=None)
settings.load_profile(os.environ.get("BNFOLD_HYPOTHESIS_PROFILE", "ci"))

# Workers of xdist that each have a thread for every processor keep each other waiting, and such threads turn in circles
# while they wait: checks of small programs take ten times the processor. Read when torch and numpy are imported.
if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ.setdefault("OMP_NUM_THREADS", "1")

# What torch's generator starts with: the file that imports torch first draws what it draws when another did.
TORCH_SEED = 67280421310721
# Seconds; the slowest test takes a few on an idle machine.
PATIENCE = 600


def pytest_collection_finish() -> None:
    """What was imported until now, a million objects where torch is there, is not searched for garbage again."""
    gc.collect()
    gc.freeze()


def pytest_collectstart(collector: pytest.Collector) -> None:
    """What a file draws while it is imported depends on no other file."""
    if isinstance(collector, pytest.Module):
        _seed()


@pytest.fixture(autouse=True)
def _same_numbers_every_time():
    """What a test draws, the weights of new modules among it, depends on no other test."""
    _seed()


@pytest.fixture(autouse=True)
def _no_test_waits_for_ever():
    """A pipe that nobody opens, or a process that does not come back, is a failure with a traceback."""
    if not hasattr(signal, "SIGALRM") or threading.current_thread() is not threading.main_thread():
        yield
        return

    def give_up(_number, _frame):
        raise TimeoutError(f"the test is not done after {PATIENCE} seconds")

    before = signal.signal(signal.SIGALRM, give_up)
    signal.alarm(PATIENCE)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


def _seed() -> None:
    if "torch" in sys.modules:
        sys.modules["torch"].manual_seed(TORCH_SEED)
