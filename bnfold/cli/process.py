"""The command as a process of its own."""

import gc
import os
import sys
from contextlib import suppress
from typing import NoReturn

from bnfold.cli.main import main


def run_and_exit() -> NoReturn:
    """Run the command, and end the process with its status.

    At once: everything is written, every temporary file is gone, and to take numpy and onnx apart object by object
    would take as long as to import them.
    """
    # Modules and graphs make many objects and little garbage; to look for it as often as Python does costs 0.02 s.
    gc.set_threshold(100_000, 30, 30)
    status = main()
    for stream in (sys.stdout, sys.stderr):
        with suppress(AttributeError, OSError, ValueError):  # there is none, its reader is gone, it is closed
            stream.flush()
    os._exit(status)
