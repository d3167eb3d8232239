"""Processes of tests that are sent signals."""

import signal


def hear_signals() -> None:
    """Before a process starts: a shell lets what it runs in the background ignore SIGINT."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)
