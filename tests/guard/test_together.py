"""Several guarded processes at a time: their order, their number, and their end."""

import os
import signal
import time

import pytest

from bnfold.errors import ModelFormatError, UnsupportedModelError
from bnfold.guard import Limits, can_guard, finish, finish_all, watch

pytestmark = pytest.mark.skipif(not can_guard(), reason="this system cannot fork")


@pytest.fixture
def child(tmp_path):
    """Work in a guarded process. What is written in its folder is there for all."""

    def make(work, step=lambda _: None):
        return watch(work, step, tmp_path / "no.onnx", tmp_path, Limits())

    return make


def wait_for(path):
    while not path.exists():
        time.sleep(0.01)


def test_results_come_in_the_order_of_the_works_whoever_is_done_first(child, tmp_path):
    def first(_):
        wait_for(tmp_path / "second")
        return "first"

    def second(_):
        (tmp_path / "second").touch()
        return "second"

    assert list(finish_all([child(first), child(second)], 2)) == ["first", "second"]


def test_no_more_than_so_many_live_at_a_time(child):
    begun = []

    def works():
        for number in range(5):
            begun.append(number)
            yield child(lambda _: None)

    done = [len(begun) for _ in finish_all(works(), 2)]
    assert all(count <= so_far + 2 for so_far, count in enumerate(done))
    assert len(done) == 5


def test_the_last_step_waits_for_its_turn(child, tmp_path):
    published = []

    def work(name, wait):
        def inside(_):
            if wait:
                wait_for(tmp_path / "b")
            (tmp_path / name).touch()

        yield from child(inside)
        yield None
        published.append(name)
        return name

    assert list(finish_all([work("a", wait=True), work("b", wait=False), work("c", wait=False)], 3)) == ["a", "b", "c"]
    assert published == ["a", "b", "c"]


def test_what_one_raises_ends_all(child, tmp_path):
    def hangs(_):
        (tmp_path / "pid").write_text(str(os.getpid()))
        time.sleep(600)

    def fails(_):
        wait_for(tmp_path / "pid")
        raise ModelFormatError("is empty")

    with pytest.raises(ModelFormatError, match="is empty"):
        list(finish_all([child(hangs), child(fails)], 2))
    pid = int((tmp_path / "pid").read_text())
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def test_one_that_crashes_is_an_error_of_its_own(child, tmp_path):
    def crashes(_):
        os.kill(os.getpid(), signal.SIGSEGV)

    def lasts(_):
        wait_for(tmp_path / "crashed")
        return "lasts"

    def answered():
        try:
            yield from child(crashes)
        except UnsupportedModelError as error:
            (tmp_path / "crashed").touch()
            return str(error)

    crashed, lasted = finish_all([answered(), child(lasts)], 2)
    assert "SIGSEGV" in crashed
    assert lasted == "lasts"


def test_each_is_told_its_own_steps(child):
    told = {"a": [], "b": []}

    def work(name):
        def inside(step):
            step(f"folding {name}")
            step(f"comparing {name}")

        return child(inside, told[name].append)

    list(finish_all([work("a"), work("b")], 2))
    assert told == {name: [f"folding {name}", f"comparing {name}"] for name in told}


def test_a_long_list_does_not_wait_in_memory_for_its_first(child, tmp_path):
    begun = []

    def quick(number):
        begun.append(number)
        if number == 60:
            (tmp_path / "last").touch()
        yield None
        return number

    def slow(_):
        deadline = time.monotonic() + 1
        while time.monotonic() < deadline and not (tmp_path / "last").exists():
            time.sleep(0.01)
        return (tmp_path / "last").exists()

    works = (child(slow) if number == 0 else quick(number) for number in range(100))
    results = finish_all(works, 2)
    assert next(results) is False
    assert len(begun) < 30
    assert list(results) == list(range(1, 100))


def test_one_alone(child):
    assert finish(child(lambda _: 7)) == 7
