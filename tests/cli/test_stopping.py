"""Signals in this process: raised once, and given back as they were."""

import os
import signal
import threading

import click
import pytest

from bnfold.cli.exit_codes import ExitCode
from bnfold.cli.main import main
from bnfold.cli.stopping import Stopped, stop_of, stopped_by_signals

NUMBERS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@pytest.fixture(autouse=True)
def handlers():
    """As a shell starts the command; put back afterwards."""
    before = {number: signal.getsignal(number) for number in NUMBERS}
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for number in NUMBERS[1:]:
        signal.signal(number, signal.SIG_DFL)
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


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


def test_an_interrupt_that_click_took_is_known_by_its_cause():
    abort = click.Abort()
    abort.__cause__ = Stopped(signal.SIGTERM)
    assert stop_of(abort) == (ExitCode.TERMINATED, "terminated")
    assert stop_of(KeyboardInterrupt()) == (ExitCode.INTERRUPTED, "interrupted")


def test_a_thread_may_call_the_command(capsys):
    codes = []
    thread = threading.Thread(target=lambda: codes.append(main(["--version"])))
    thread.start()
    thread.join()
    assert codes == [0]
    assert capsys.readouterr().out.startswith("bnfold ")
