"""A process of its own that starts at once: what takes seconds to import is there from the one that runs the tests.

For tests that need streams, an exit code or a working folder of a process, and not its start.
"""

import os
import signal
import subprocess
import sys
import tempfile
import traceback
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NoReturn

_AS_PYTHON_STARTS = (DeprecationWarning, PendingDeprecationWarning, ImportWarning, ResourceWarning)


def in_fork(
    work: Callable[[], int],
    cwd: Path | str = ".",
    environment: Mapping[str, str] = os.environ,
    stdout: int | None = None,
) -> subprocess.CompletedProcess[bytes]:
    """Do some work in a forked process that ends with its result.

    Args:
        work: what to do there.
        cwd: its working folder.
        environment: its variables.
        stdout: a descriptor; None for a pipe, of which everything is read.

    Returns:
        As of subprocess.run; `stdout` is empty where a descriptor was given.
    """
    reading, writing = os.pipe()
    with tempfile.TemporaryFile() as errors, open(reading, "rb") as pipe:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # of threads, of which none is needed there
            child = os.fork()
        if child == 0:
            _work_and_exit(work, cwd, environment, writing if stdout is None else stdout, errors.fileno())
        os.close(writing)
        try:
            printed = pipe.read()
            _, status = os.waitpid(child, 0)
        except BaseException:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
            raise
        errors.seek(0)
        return subprocess.CompletedProcess([], os.waitstatus_to_exitcode(status), printed, errors.read())


def _work_and_exit(
    work: Callable[[], int], cwd: Path | str, environment: Mapping[str, str], stdout: int, stderr: int
) -> NoReturn:
    code = 1
    try:
        signal.alarm(0)
        for number in (signal.SIGALRM, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_DFL)
        nothing = os.open(os.devnull, os.O_RDONLY)
        for number, stream in enumerate((nothing, stdout, stderr)):
            os.dup2(stream, number)
        sys.stdin, sys.stdout, sys.stderr = (
            open(number, mode, encoding="utf-8", errors="surrogateescape", closefd=False)  # noqa: SIM115
            for number, mode in enumerate("rww")
        )
        sys.stderr.reconfigure(errors="backslashreplace", line_buffering=True)
        warnings.resetwarnings()
        for category in _AS_PYTHON_STARTS:
            warnings.simplefilter("ignore", category)
        os.chdir(cwd)
        if environment is not os.environ:
            os.environ.clear()
            os.environ.update(environment)
        code = work()
        sys.stdout.flush()
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else 1
        sys.stdout.flush()
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(code)
