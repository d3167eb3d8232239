"""Replaces a model and its data, and is stopped at one of the steps that this takes."""

import errno
import os
import signal
import sys
from pathlib import Path

from bnfold.errors import UsageError
from bnfold.writing.data_names import name_for_data
from bnfold.writing.destination import destination_of
from bnfold.writing.publishing import publish_files
from bnfold.writing.staging import staging_folder
from tests.writing.models import model_bytes

NEW = b"the new data"
STEPS = ("link", "replace", "rename", "unlink", "fsync", "chmod", "chown", "utime", "mkdir")
steps_done = 0


def stop_at(step: int, how: str) -> None:
    """Make the call with this number, counted from 1, the last one of the process, or one that fails."""

    def watched(call):
        def stopped(*arguments, **options):
            global steps_done
            steps_done += 1
            if steps_done == step and how == "kill":
                os.kill(os.getpid(), signal.SIGKILL)
            if steps_done == step:
                raise OSError(errno.EPERM if how == "fail" else errno.ENOSPC, "stopped")
            return call(*arguments, **options)

        return stopped

    for name in STEPS:
        setattr(os, name, watched(getattr(os, name)))


def replace(model: Path) -> None:
    destination = destination_of(model)
    with staging_folder(destination) as folder:
        unnamed = folder / "unnamed"
        unnamed.write_bytes(NEW)
        data = folder / name_for_data(destination.path, unnamed)
        os.rename(unnamed, data)
        staged = folder / destination.path.name
        staged.write_bytes(model_bytes(data.name, NEW))
        for warning in publish_files([data, staged], destination):
            print(warning, file=sys.stderr)


def replace_and_stop(model: Path, step: int, how: str) -> int:
    """Replace a model and its data, stopped at a step; in a process of its own, as `os` is another one behind it.

    Args:
        model: to replace.
        step: counted from 1; at 0 nothing stops it.
        how: "kill", or "fail" or "full" for an error of the step.

    Returns:
        An exit code. It prints how many calls it made that change something.
    """
    stop_at(step, how)
    try:
        replace(model)
    except (UsageError, OSError) as error:
        print(error, file=sys.stderr)
        return 2
    print(steps_done)
    return 0
