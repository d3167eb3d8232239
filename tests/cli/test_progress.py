"""What is shown to those who wait: on a terminal, and in a log."""

import io
import sys
import time

import pytest

from bnfold.cli.progress import Progress


class Clock:
    def __init__(self):
        self.now = 100.0

    def __call__(self):
        return self.now


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.fixture
def log(monkeypatch):
    """What a log holds, of a standard error that is none of a terminal's."""
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    return []


def test_a_log_has_nothing_of_what_is_quick(log):
    clock = Clock()
    progress = Progress(1, quiet=False, log=log.append, clock=clock)
    with progress.of("m.onnx") as tell:
        for doing in ("folding", "writing", "comparing"):
            clock.now += 1.5
            tell(doing)

    assert log == []


def test_a_log_has_a_line_for_every_stage_of_what_takes_long(log):
    clock = Clock()
    progress = Progress(1, quiet=False, log=log.append, clock=clock)
    with progress.of("m.onnx") as tell:
        for seconds, doing in [
            (9, "folding"),
            (2, "folding"),
            (1, "writing"),
            (1, "comparing 0/6 inputs, 0/9 changes"),
            (1, "comparing 0/6 inputs, 1/9 changes"),
            (9, "comparing 0/6 inputs, 2/9 changes"),
            (22, "comparing 0/6 inputs, 3/9 changes"),
            (1, "comparing 1/6 inputs, 9/9 changes"),
        ]:
            clock.now += seconds
            tell(doing)

    assert log == [
        "m.onnx: folding, 11 s",
        "m.onnx: comparing 0/6 inputs, 1/9 changes, 14 s",
        "m.onnx: comparing 0/6 inputs, 3/9 changes, 45 s",
    ]


def test_of_several_models_each_has_its_number_and_its_own_time(log):
    clock = Clock()
    progress = Progress(57, quiet=False, log=log.append, clock=clock)
    with progress.of("a.onnx") as tell_a, progress.of("b.onnx") as tell_b:
        assert progress.line() == "[1/57] a.onnx: reading, 0 s; [2/57] b.onnx: reading, 0 s"
        clock.now += 11
        tell_a("folding")
        with progress.of("c.onnx") as tell_c:
            clock.now += 2
            tell_c("folding")
            tell_b("comparing")

    assert log == ["[1/57] a.onnx: folding, 11 s", "[2/57] b.onnx: comparing, 13 s"]
    assert progress.line() == ""


def test_a_quiet_call_logs_nothing(log):
    clock = Clock()
    with Progress(1, quiet=True, log=log.append, clock=clock).of("m.onnx") as tell:
        clock.now += 100
        tell("folding")

    assert log == []


def test_without_a_standard_error_nothing_breaks(monkeypatch):
    monkeypatch.setattr(sys, "stderr", None)
    with Progress(1, quiet=False, log=print).of("m.onnx") as tell:
        tell("folding")


@pytest.mark.parametrize(("term", "draws"), [("xterm", True), ("dumb", False)])
def test_a_terminal_shows_a_line_that_goes_away(monkeypatch, term, draws):
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setenv("TERM", term)
    logged = []
    with Progress(1, quiet=False, log=logged.append).of("[b]\x1b[2J.onnx") as tell:
        tell("comparing 1/6 inputs")
        for _ in range(200 if draws else 1):  # a thread draws it
            if "inputs" in terminal.getvalue():
                break
            time.sleep(0.05)

    assert logged == []
    assert (r"[b]\x1b[2J.onnx: comparing 1/6 inputs, 0 s" in terminal.getvalue()) is draws
    assert "\x1b[2J" not in terminal.getvalue()
