"""Signals in this process: raised once, and given back as they were."""

import importlib
import os
import signal
import sys
import threading
import time

import click
import pytest

from bnfold.cli import stopping
from bnfold.cli.exit_codes import ExitCode
from bnfold.cli.main import main
from bnfold.cli.stopping import Stopped, stop_of, stopped_by_signals

NUMBERS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@pytest.fixture(autouse=True)
def handlers():
    """As a shell starts the command; put back afterwards."""
    before = {number: signal.getsignal(number) for number in (*NUMBERS, signal.SIGALRM)}
    alarm = signal.setitimer(signal.ITIMER_REAL, 0)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for number in (*NUMBERS[1:], signal.SIGALRM):
        signal.signal(number, signal.SIG_DFL)
    yield
    for number, handler in before.items():
        signal.signal(number, handler)
    signal.setitimer(signal.ITIMER_REAL, *alarm)


def send(number):
    os.kill(os.getpid(), number)


@pytest.mark.parametrize("number", NUMBERS)
def test_each_signal_raises_and_says_its_code(number):
    with pytest.raises(Stopped) as caught, stopped_by_signals():
        send(number)
    assert caught.value.code == 128 + number
    assert stop_of(caught.value) == (128 + number, caught.value.how)


def clean_up_under(first, *later):
    """Whether the cleaning up after the first signal got to its end, while more came."""
    cleaned = []

    def work():
        with stopped_by_signals():
            try:
                send(first)
            finally:
                for number in later:
                    send(number)
                cleaned.append(True)

    with pytest.raises(Stopped):
        work()
    return bool(cleaned)


@pytest.mark.parametrize("first", NUMBERS)
def test_a_second_signal_does_not_disturb_the_cleaning_up(first):
    assert clean_up_under(first, signal.SIGTERM, signal.SIGHUP)


def test_an_impatient_second_interrupt_does():
    assert not clean_up_under(signal.SIGTERM, signal.SIGINT)


class SignalsWhenItGoes:
    def __del__(self):
        send(signal.SIGTERM)


def work_while_something_goes():
    SignalsWhenItGoes()
    for _ in range(1000):
        time.sleep(0.01)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_signal_that_python_drops_is_raised_again():
    """What is raised where Python calls back on its own, as in `__del__`, goes nowhere."""
    with pytest.raises(Stopped), stopped_by_signals():
        work_while_something_goes()


def test_an_import_is_not_cut_off(tmp_path, monkeypatch):
    """The signal comes in its middle, and is raised behind it: numpy crashes where its import ends so."""
    (tmp_path / "signals.py").write_text("import os, time\nos.kill(os.getpid(), 15)\ntime.sleep(0.2)\ndone = True\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(Stopped), stopped_by_signals():
        import_and_wait()
    assert sys.modules.pop("signals").done


def import_and_wait():
    importlib.import_module("signals")
    time.sleep(10)


@pytest.mark.parametrize("later", [None, KeyError()])
def test_cleaning_up_that_takes_long_is_not_disturbed(monkeypatch, later):
    """Nor where it meets errors of its own."""
    monkeypatch.setattr(stopping, "_REMINDER", 0.01)
    cleaned = []

    def work():
        with stopped_by_signals():
            try:
                send(signal.SIGTERM)
            finally:
                try:
                    if later:
                        raise later
                except KeyError:
                    time.sleep(0.1)
                time.sleep(0.1)
                cleaned.append(True)

    with pytest.raises(Stopped):
        work()
    assert cleaned == [True]
    assert signal.getitimer(signal.ITIMER_REAL) == (0, 0)


def test_an_alarm_of_a_host_program_is_left_alone():
    before = signal.signal(signal.SIGALRM, lambda *_: None)
    mine = signal.getsignal(signal.SIGALRM)
    with stopped_by_signals():
        with pytest.raises(Stopped):
            send(signal.SIGTERM)
        assert signal.getsignal(signal.SIGALRM) is mine
        assert signal.getitimer(signal.ITIMER_REAL) == (0, 0)
    signal.signal(signal.SIGALRM, before)


def test_handlers_are_given_back():
    before = [signal.getsignal(number) for number in NUMBERS]
    with stopped_by_signals():
        assert not {signal.getsignal(number) for number in NUMBERS} & set(before)
    assert [signal.getsignal(number) for number in NUMBERS] == before


def test_handlers_of_a_host_program_stay():
    handler = signal.signal(signal.SIGTERM, lambda *_: None)
    mine = signal.getsignal(signal.SIGTERM)
    with stopped_by_signals():
        assert signal.getsignal(signal.SIGTERM) is mine
    signal.signal(signal.SIGTERM, handler)


def test_an_error_while_a_stop_is_handled_is_a_stop():
    """Such as that of an import of what was half imported."""
    error = ImportError("cannot load module more than once per process")
    error.__context__ = Stopped(signal.SIGTERM)
    assert stop_of(error) == (ExitCode.TERMINATED, "terminated")
    assert stop_of(click.Abort()) == (ExitCode.INTERRUPTED, "interrupted")
    assert stop_of(KeyboardInterrupt()) == (ExitCode.INTERRUPTED, "interrupted")


def test_a_thread_may_call_the_command(capsys):
    codes = []
    thread = threading.Thread(target=lambda: codes.append(main(["--version"])))
    thread.start()
    thread.join()
    assert codes == [0]
    assert capsys.readouterr().out.startswith("bnfold ")
