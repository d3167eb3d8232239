"""Two calls that take turns: what is counted, in which order, and what is made of it."""

import pytest

from bnfold.latency import turns
from bnfold.latency.turns import LEAST_RUNS, Turns, spread, take_turns
from bnfold.pulse import heard_by
from bnfold.timings import BenchOptions, Latency, Spread


class Clock:
    """Time that passes only where somebody says so."""

    def __init__(self):
        self.now = 0.0

    def call(self, name, seconds, called):
        def call():
            called.append(name)
            self.now += seconds

        return call


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(turns.time, "perf_counter", lambda: clock.now)
    return clock


def test_who_begins_alternates_and_the_first_runs_do_not_count(clock):
    called = []
    found = take_turns(clock.call("a", 2.0, called), clock.call("b", 1.0, called), seconds=0)
    counted = called[-2 * LEAST_RUNS :]
    assert [counted[at : at + 2] for at in (0, 2, 4)] == [["b", "a"], ["a", "b"], ["b", "a"]]
    assert len(called) > len(counted)
    assert found.first == [2.0] * LEAST_RUNS
    assert found.second == [1.0] * LEAST_RUNS
    assert found.ratios == [2.0] * LEAST_RUNS


def test_it_goes_on_for_as_long_as_was_asked(clock):
    called = []
    found = take_turns(clock.call("a", 0.1, called), clock.call("b", 0.1, called), seconds=10)
    assert len(found.first) == len(found.second)
    assert 49 <= len(found.first) <= 51


def test_what_takes_minutes_is_not_run_for_hours(clock):
    called = []
    found = take_turns(clock.call("a", 30.0, called), clock.call("b", 30.0, called), seconds=2)
    assert len(found.first) == len(found.second) == 4
    assert len(called) == 2 * 4 + 1, "one warm-up"


def test_another_clock_times_the_runs_but_not_how_long_they_go_on(clock):
    def run():
        clock.now += 1.0

    found = take_turns(run, run, 40, lambda: 10 * clock.now)
    assert len(found.first) == 20
    assert set(found.first) == {10.0}


def test_a_longer_time_is_taken_where_it_was_asked_for(clock):
    found = take_turns(clock.call("a", 30.0, []), clock.call("b", 30.0, []), seconds=480)
    assert len(found.first) == 9


def test_a_call_that_takes_no_time_divides_by_nothing(clock):
    found = take_turns(clock.call("a", 0.0, []), clock.call("b", 0.0, []), seconds=0)
    assert found.ratios == [1.0] * LEAST_RUNS


def test_every_turn_is_a_sign_of_life(clock):
    beats = []
    with heard_by(lambda: beats.append(0)):
        take_turns(clock.call("a", 1.0, []), clock.call("b", 1.0, []), seconds=0)
    assert len(beats) >= LEAST_RUNS


def test_quartiles():
    assert spread([5.0, 1.0, 4.0, 2.0, 3.0]) == Spread(2.0, 3.0, 4.0)
    assert Turns([2.0, 6.0], [1.0, 2.0]).ratios == [2.0, 3.0]


@pytest.mark.parametrize(
    ("speedup", "verdict"),
    [((1.1, 1.2, 1.3), "faster"), ((0.7, 0.8, 0.9), "slower"), ((0.9, 1.1, 1.2), "as fast")],
)
def test_a_verdict_needs_half_of_the_runs(speedup, verdict):
    assert Latency("onnxruntime", "all", "CPU", 1, speedup=Spread(*speedup)).verdict == verdict
    assert Latency("onnxruntime", "all", "CPU", 1, speedup=Spread(*speedup), problem="no").verdict == "not measured"


@pytest.mark.parametrize(
    "wrong", [{"levels": ("fast",)}, {"levels": ()}, {"threads": (0,)}, {"threads": ()}, {"seconds": -1}]
)
def test_options_out_of_range(wrong):
    with pytest.raises(Exception, match=next(iter(wrong))):
        BenchOptions(**wrong)
