"""Runs work in a guarded process and watches it: what it tells is passed on, how it dies becomes one error.

Who watches waits most of the time. So watching is a generator that gives the pipe it waits for, and one process can
watch many children without a thread: see `bnfold.guard.together`.
"""

import os
import pickle
import signal
import stat
import sys
import time
import warnings
from collections.abc import Generator, Iterator
from contextlib import closing
from pathlib import Path
from typing import ClassVar, TypeAlias, TypeVar, cast

from bnfold.errors import BnfoldError, UncheckedError, UnsupportedModelError
from bnfold.guard.child import Room, Step, Work, work_and_exit
from bnfold.guard.limits import FOLDING, READING, TIMING, WRITING, Limits, processor_seconds
from bnfold.guard.messages import ERROR, RESULT, STEP, Receiver, read_value
from bnfold.keywords import keyword
from bnfold.sizes import memory
from bnfold.writing.locations import data_files_of

T = TypeVar("T")

Watching: TypeAlias = Generator[int | None, bool, T]
"""Work under watch. It gives the pipe that it waits for, and is sent whether there is something to read; None waits for
all work that was begun before. It returns what the work gave."""

_CHUNK = 2**20
_BLOCK = 512  # bytes, in which st_blocks counts
# A process that waits for something, and uses no processor, gets this many times longer.
_PATIENCE = 20
_WHY_KILLED = {
    "SIGKILL": ", as systems do that run out of memory",
    "SIGBUS": ", as where a file becomes shorter while it is read",
}
_TAKEN_OVER = "took over the process that read it"


def can_guard() -> bool:
    """Whether this system can fork a process, and so guard one."""
    return hasattr(os, "fork")


def watch(work: Work[T], step: Step, source: Path, folder: Path, limits: Limits) -> Watching[T]:
    """Do work on a file in a child process with limits.

    Args:
        work: what to do; it calls its argument with the name of every step that begins. What it returns must consist
            of the values of a report.
        step: told the same names, here.
        source: the file that is worked on, for its size and that of its data.
        folder: the one folder in which the child can write.
        limits: of each step.

    Raises:
        UnsupportedModelError: the child crashed, hung or asked for too much memory while it read or folded the model.
        UncheckedError: the same, while it ran the models to compare them.
        Exception: whatever the work raised.
    """
    room = Room(folder, _size_of(source), limits)
    with closing(_Child(work, room)) as child:
        return cast("T", (yield from _Watch(child, room, step).answer()))


def _size_of(source: Path) -> int:
    """Bytes of a model and of its data beside it, which onnxruntime maps so that it counts as private memory."""
    return _bytes_of(source) + sum(_bytes_that_are_there(path) for path in data_files_of(source))


def _bytes_of(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:  # the work says it better
        return 0


def _bytes_that_are_there(path: Path) -> int:
    """Without the holes of a sparse file, which could ask for any limit at no cost."""
    try:
        status = path.stat()
    except OSError:
        return 0
    return min(status.st_size, _BLOCK * status.st_blocks) if stat.S_ISREG(status.st_mode) else 0


class _Child:
    """A forked process, and the end of the pipe that it writes to. Once closed, it is gone."""

    _pipes: ClassVar[set[int]] = set()
    """Of all that live. A child that kept the pipes of others would keep them from learning that nobody listens."""

    def __init__(self, work: Work[object], room: Room) -> None:
        self.pipe, writing = os.pipe()
        self._pipes.add(self.pipe)
        self._status: int | None = None
        for stream in (sys.stdout, sys.stderr):
            if stream is not None:
                stream.flush()
        with warnings.catch_warnings():
            # Python warns of threads that do not live on in the child; it uses none of them.
            warnings.simplefilter("ignore", DeprecationWarning)
            self.pid = os.fork()
        if self.pid == 0:
            for pipe in self._pipes:
                os.close(pipe)
            work_and_exit(work, writing, room)
        os.close(writing)

    def wait(self) -> int:
        """Its status, as os.waitpid gives it."""
        if self._status is None:
            _, self._status = os.waitpid(self.pid, 0)
        return self._status

    def close(self) -> None:
        os.close(self.pipe)
        self._pipes.discard(self.pipe)
        if self._status is None:
            os.kill(self.pid, signal.SIGKILL)
            self.wait()


class _Watch:
    """Follows one child from its start to its end."""

    def __init__(self, child: _Child, room: Room, step: Step) -> None:
        self._child = child
        self._room = room
        self._tell = step
        self._doing = READING
        self._began = self._clock()

    def answer(self) -> Watching[object]:
        """What the work gave, or raise what ended it."""
        receiver = Receiver()
        while True:
            if (yield self._child.pipe):
                data = os.read(self._child.pipe, _CHUNK)
                if not data:
                    raise self._death()
                for kind, content in self._messages(receiver, data):
                    self._check_time()
                    self._began = self._clock()
                    if kind == RESULT:
                        return self._read(content)
                    if kind == ERROR:
                        raise self._told(self._read(content))
                    if kind == STEP:
                        self._doing = content.decode()
                        self._tell(self._doing)
            self._check_time()

    def _messages(self, receiver: Receiver, data: bytes) -> Iterator[tuple[bytes, bytes]]:
        """Those that are whole now."""
        try:
            yield from receiver.take(data)
        except ValueError as error:
            raise self._broken(_TAKEN_OVER) from error

    def _read(self, content: bytes) -> object:
        try:
            return read_value(content)
        except (pickle.UnpicklingError, AttributeError, EOFError, ImportError, IndexError, TypeError) as error:
            raise self._broken(_TAKEN_OVER) from error

    def _clock(self) -> tuple[float, float]:
        """Processor time of the child, or time itself where that is not known; and time itself."""
        now = time.monotonic()
        used = processor_seconds(self._child.pid)
        return (now if used is None else used), now

    def _check_time(self) -> None:
        allowed = self._room.limits.seconds_for(self._doing, self._room.size)
        used, passed = (now - then for now, then in zip(self._clock(), self._began, strict=True))
        if used > allowed or passed > _PATIENCE * allowed:
            raise self._broken(
                f"needs more than {allowed:.4g} seconds of processor time for one step ({keyword('Limits.seconds')})"
            )

    def _told(self, error: object) -> Exception:
        if isinstance(error, MemoryError):
            allowed = self._room.limits.memory_for(self._doing, self._room.size)
            return self._broken(f"needs more than {memory(allowed)} of memory ({keyword('Limits.memory')})")
        return error if isinstance(error, Exception) else self._broken(_TAKEN_OVER)

    def _death(self) -> BnfoldError:
        status = self._child.wait()
        if os.WIFSIGNALED(status):
            name = signal.Signals(os.WTERMSIG(status)).name
            return self._broken(f"crashed the process that read it ({name}{_WHY_KILLED.get(name, '')})")
        return self._broken(f"made a library give up, as some do where memory is short ({keyword('Limits.memory')})")

    def _broken(self, what: str) -> BnfoldError:
        if self._doing in (READING, FOLDING, WRITING):
            return UnsupportedModelError(f"{what}, while {self._doing}")
        if self._doing == TIMING:
            return UncheckedError(f"the latency could not be measured: the model {what}, while {self._doing}")
        return UncheckedError(f"the check could not be carried out: the model {what}, while {self._doing}")
