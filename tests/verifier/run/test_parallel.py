"""Work beside other work."""

import threading

import pytest

from bnfold.processors import is_shared, shared_among, usable
from bnfold.verifier.run.parallel import ahead, begun, half_of_the_processors, side_by_side


def test_a_model_takes_half_of_the_machine_and_one_thread_at_least(monkeypatch):
    for count, half in ((1, 1), (2, 1), (3, 1), (8, 4)):
        monkeypatch.setattr("os.sched_getaffinity", lambda _, count=count: range(count), raising=False)
        assert half_of_the_processors() == half


def test_processes_that_work_at_a_time_share_the_machine(monkeypatch):
    monkeypatch.setattr("os.sched_getaffinity", lambda _: range(16), raising=False)
    assert not is_shared()
    for processes, threads, half in ((1, 16, 8), (3, 5, 2), (40, 1, 1)):
        with shared_among(processes):
            assert (usable(), half_of_the_processors(), is_shared()) == (threads, half, processes > 1)
    assert (usable(), is_shared()) == (16, False)


def test_side_by_side_is_at_the_same_time():
    both = threading.Barrier(2, timeout=60)
    assert sorted(side_by_side(both.wait, both.wait)) == [0, 1]


def test_the_first_error_counts():
    def fail(name):
        raise ValueError(name)

    for first, second, expected in ((lambda: fail("a"), lambda: fail("b"), "a"), (lambda: 1, lambda: fail("b"), "b")):
        with pytest.raises(ValueError, match=expected):
            side_by_side(first, second)


def test_the_next_item_is_made_while_one_is_used():
    made = threading.Semaphore(0)

    def items():
        for number in range(4):
            made.release()
            yield number

    used = []
    for number in ahead(items()):
        if number < 3:
            assert made.acquire(timeout=60)  # this one
            assert made.acquire(timeout=60)  # and the next one, though nobody asked for it
            made.release()
        used.append(number)
    assert used == [0, 1, 2, 3]


def test_an_error_comes_when_it_is_its_turn():
    def items():
        yield 1
        raise ValueError("no more")

    coming = ahead(items())
    assert next(coming) == 1
    with pytest.raises(ValueError, match="no more"):
        next(coming)


def test_nothing_runs_on_when_nobody_wants_more():
    made = []

    def items():
        for number in range(100):
            made.append(number)
            yield number

    coming = ahead(items())
    next(coming)
    coming.close()
    assert len(made) <= 3


def test_what_was_begun_ends_before_the_block():
    done = []
    with begun(lambda: done.append(1)):
        pass
    assert done == [1]
    with begun(lambda: 7) as result:
        assert result() == 7
