"""The command as a process of its own."""

import gc
import os
import sys
from contextlib import suppress
from typing import NoReturn

from bnfold.cli.stopping import Stopped, stopped_by_signals

_STANDARD_ERROR = 2


def run_and_exit() -> NoReturn:
    """Run the command, and end the process with its status.

    At once: everything is written, every temporary file is gone, and to take numpy and onnx apart object by object
    would take as long as to import them.
    """
    _open_standard_streams()
    # Modules and graphs make many objects and little garbage; to look for it as often as Python does costs 0.02 s.
    gc.set_threshold(100_000, 30, 30)
    os._exit(_status())


def _open_standard_streams() -> None:
    """Streams that the caller has closed lead nowhere. Else the next file would take their place, and all output."""
    while (number := os.open(os.devnull, os.O_RDWR)) <= _STANDARD_ERROR:
        os.set_inheritable(number, True)
    os.close(number)


def _status() -> int:
    """Run the command, and send off what it printed; a signal ends that too, and all that is imported before."""
    try:
        with stopped_by_signals():
            from bnfold.cli.main import main

            status = main()
            for stream in (sys.stdout, sys.stderr):
                with suppress(AttributeError, OSError, ValueError):  # there is none, its reader is gone, it is closed
                    stream.flush()
            return status
    except Stopped as stopped:
        with suppress(AttributeError, OSError, ValueError):  # as above
            print(f"bnfold: {stopped.how}", file=sys.stderr, flush=True)
        return stopped.code
