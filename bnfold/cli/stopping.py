"""Signals that end the command: each one goes the way of an interrupt, so that everything is cleaned up."""

import signal
import sys
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
_REMINDER = 0.05  # seconds


class Stopped(BaseException):
    """A signal asked the command to end. No KeyboardInterrupt, to which click gives an answer of its own.

    Args:
        number: of the signal.
    """

    def __init__(self, number: int) -> None:
        self.code, self.how = _ENDINGS[signal.Signals(number).name]
        super().__init__(self.how)


@contextmanager
def stopped_by_signals() -> Iterator[None]:
    """Inside, SIGINT, SIGTERM and SIGHUP raise `Stopped`, the first of them once: what follows is cleaning up.

    One that comes during an import is raised behind it: numpy can crash where its own import is cut off. A second
    SIGINT comes from somebody who does not want to wait, and raises again, at once. A signal that whoever started the
    process wants ignored, as nohup does, stays ignored. A thread gets no signals, and changes nothing.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    stopper = _Stopper()
    before = {}
    for name, react in {**dict.fromkeys(_ENDINGS, stopper.stop), "SIGALRM": stopper.remind}.items():
        number = getattr(signal, name, None)
        if number is not None and signal.getsignal(number) in (signal.SIG_DFL, signal.default_int_handler):
            before[number] = signal.signal(number, react)
    stopper.can_remind = getattr(signal, "SIGALRM", None) in before
    try:
        yield
    finally:
        stopper.end_reminding()
        for number, handler in before.items():
            signal.signal(number, handler)


class _Stopper:
    """Raises `Stopped` when that is safe, and again where nobody noticed.

    Python drops what is raised while it calls back on its own, as in `__del__`: the signal would be lost. So an alarm
    looks whether somebody handles a `Stopped` by now.

    Attributes:
        can_remind: the alarm is this object's to use.
    """

    def __init__(self) -> None:
        self._came: list[int] = []
        self.can_remind = False

    def stop(self, number: int, frame: FrameType | None) -> None:
        self._came.append(number)
        if self.can_remind:
            signal.setitimer(signal.ITIMER_REAL, _REMINDER, _REMINDER)
        waits = self.can_remind and _is_importing(frame)
        if (len(self._came) == 1 and not waits) or (len(self._came) > 1 and number == signal.SIGINT):
            raise Stopped(number)

    def remind(self, _number: int, frame: FrameType | None) -> None:
        if stop_within(sys.exc_info()[1]) is not None:
            self.end_reminding()
        elif self._came and not _is_importing(frame):
            raise Stopped(self._came[0])

    def end_reminding(self) -> None:
        if self.can_remind:
            signal.setitimer(signal.ITIMER_REAL, 0)


def _is_importing(frame: FrameType | None) -> bool:
    while frame is not None and not frame.f_code.co_filename.startswith("<frozen importlib"):
        frame = frame.f_back
    return frame is not None


def stop_within(error: BaseException | None) -> Stopped | None:
    """The `Stopped` that an exception is, or that was being handled when the exception came up."""
    while error is not None and not isinstance(error, Stopped):
        error = error.__context__
    return error


def stop_of(error: BaseException) -> tuple[ExitCode, str]:
    """The code of an interrupt, and what to say of it.

    Args:
        error: a `Stopped`, what came up while one was handled, or what click or Python made of an interrupt.
    """
    stopped = stop_within(error)
    return _ENDINGS["SIGINT"] if stopped is None else (stopped.code, stopped.how)
