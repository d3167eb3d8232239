"""What the guarded process does: it drops its rights, works, sends the result, and ends."""

import ctypes
import faulthandler
import mmap
import os
import signal
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn, TypeVar

from bnfold.guard.landlock import confine
from bnfold.guard.limits import READING, Limits, limit_memory, limit_process, private_memory
from bnfold.guard.messages import Sender
from bnfold.guard.warm import is_unused
from bnfold.pulse import heard_by

T = TypeVar("T")
Step = Callable[[str], None]
Work = Callable[[Step], T]

_DIES_WITH_PARENT = 1  # PR_SET_PDEATHSIG
_RESERVE = 2**22
# What onnxruntime and torch write to, on machines that have them.
_DEVICES = ("null", "shm", "nvidiactl", "nvidia-uvm", *(f"nvidia{number}" for number in range(16)))


@dataclass(frozen=True)
class Room:
    """Where a guarded process works, and with how much.

    Attributes:
        folder: the one folder to write in.
        size: of the file that is read, in bytes.
        limits: of each step.
    """

    folder: Path
    size: int
    limits: Limits


def work_and_exit(work: Work[object], pipe: int, room: Room) -> NoReturn:
    """Do the work in this process, which was forked for it, tell `pipe` how it ended, and end the process."""
    sender = Sender(pipe)
    reserve = mmap.mmap(-1, _RESERVE, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)  # counted, and never touched
    try:
        _detach()
        _give_up(room.folder)
        with heard_by(sender.beat):
            sender.result(work(_Steps(sender, room)))
    except Exception as error:
        # What failed for lack of memory must still be told.
        reserve.close()
        limit_memory(None)
        sender.error(error)
    finally:
        os._exit(0)


class _Steps:
    """Tells of every step, and lets it have the memory that is meant for it."""

    def __init__(self, sender: Sender, room: Room) -> None:
        self._sender = sender
        self._room = room
        self._before = private_memory()
        self._allow(READING)

    def __call__(self, doing: str) -> None:
        self._allow(doing)
        self._sender.step(doing)

    def _allow(self, step: str) -> None:
        if self._before is not None:
            limit_memory(self._before + self._room.limits.memory_for(step, self._room.size))


def _detach() -> None:
    """Die with the parent, leave signals to it, and let nothing that libraries print reach its terminal."""
    if sys.platform.startswith("linux"):
        ctypes.CDLL(None).prctl(_DIES_WITH_PARENT, signal.SIGKILL, 0, 0, 0)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    faulthandler.disable()
    nothing = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2):
        os.dup2(nothing, stream)
    # New objects: a thread of the parent may have held the locks of the old ones when the process was forked.
    sys.stdout = open(1, "w", closefd=False)  # noqa: SIM115 - open until the process ends
    sys.stderr = open(2, "w", closefd=False)  # noqa: SIM115 - as above


def _give_up(folder: Path) -> None:
    """Drop the rights to write outside of this folder, to start programs and to open connections."""
    _tame_threads()
    limit_process()
    tempfile.tempdir = os.environ["TMPDIR"] = str(folder)
    confine([folder], [Path("/dev", name) for name in _DEVICES])


def _tame_threads() -> None:
    """Threads that torch started before the fork are gone, and its pool would wait for them for ever."""
    if sys.modules.get("torch") is not None and not is_unused("torch"):
        import torch

        torch.set_num_threads(1)
