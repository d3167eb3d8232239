"""Signals that end the command: each one goes the way of an interrupt, so that everything is cleaned up."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from bnfold.cli.exit_codes import ExitCode

_ENDINGS = {
    "SIGINT": (ExitCode.INTERRUPTED, "interrupted"),
    "SIGTERM": (ExitCode.TERMINATED, "terminated"),
    "SIGHUP": (ExitCode.HUNG_UP, "hung up"),
}


class Stopped(KeyboardInterrupt):
    """A signal asked the command to end.

    Args:
        number: of the signal.
    """

    def __init__(self, number: int) -> None:
        self.code, self.how = _ENDINGS[signal.Signals(number).name]
        super().__init__(self.how)


@contextmanager
def stopped_by_signals() -> Iterator[None]:
    """Inside, SIGINT, SIGTERM and SIGHUP raise `Stopped`, the first of them once: what follows is cleaning up.

    A second SIGINT comes from somebody who does not want to wait, and raises again. A signal that whoever started the
    process wants ignored, as nohup does, stays ignored. A thread gets no signals, and changes nothing.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    came: list[int] = []

    def stop(number: int, _frame: FrameType | None) -> None:
        came.append(number)
        if len(came) == 1 or number == signal.SIGINT:
            raise Stopped(number)

    before = {}
    for name in _ENDINGS:
        number = getattr(signal, name, None)
        if number is not None and signal.getsignal(number) in (signal.SIG_DFL, signal.default_int_handler):
            before[number] = signal.signal(number, stop)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def stop_of(error: BaseException) -> tuple[ExitCode, str]:
    """The code of an interrupt, and what to say of it.

    Args:
        error: a `Stopped`, or what click or Python made of an interrupt.
    """
    for cause in (error, error.__cause__):
        if isinstance(cause, Stopped):
            return cause.code, cause.how
    return _ENDINGS["SIGINT"]
