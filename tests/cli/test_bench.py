"""What the command asks for where latency is to be measured, and what it refuses."""

import pytest

from bnfold.cli.main import main
from bnfold.timings import BenchOptions
from tests.reports import LATENCIES, fold, report


@pytest.fixture
def asked(monkeypatch):
    """The options of every fold."""
    found = []

    def pretend(source, target, options, **_):
        found.append(options)
        return report([fold()], input=str(source), output=str(target), latencies=LATENCIES)
        yield  # as the real one, which waits for a process

    monkeypatch.setattr("bnfold.api.files.folding_file", pretend)
    return found


@pytest.fixture
def model(tmp_path):
    path = tmp_path / "m.onnx"
    path.write_text("a model")
    return str(path)


def test_without_it_nothing_is_timed(asked, model):
    assert main([model]) == 0
    assert asked[0].timing is None


def test_defaults(asked, model, capsys):
    assert main([model, "--bench"]) == 0
    assert asked[0].timing == BenchOptions(("all",), (1,), 2.0, "CPUExecutionProvider")
    assert "1.76 times as fast" in capsys.readouterr().out


def test_levels_threads_seconds_and_provider(asked, model):
    levels = ["--bench-level", "disabled", "--bench-level", "all"]
    threads = ["--bench-threads", "1", "--bench-threads", "4"]
    rest = ["--bench-seconds", "0.5", "--provider", "CUDAExecutionProvider"]
    assert main([model, "--bench", *levels, *threads, *rest]) == 0
    assert asked[0].timing == BenchOptions(("disabled", "all"), (1, 4), 0.5, "CUDAExecutionProvider")
    assert asked[0].check.provider == "CUDAExecutionProvider"


def test_a_provider_means_something_without_a_check(asked, model):
    assert main([model, "--no-verify", "--bench", "--provider", "CUDAExecutionProvider"]) == 0
    assert asked[0].check is None
    assert asked[0].timing.provider == "CUDAExecutionProvider"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--bench-threads", "2"], "--bench-threads means nothing without --bench"),
        (["--bench-level", "all"], "--bench-level means nothing without --bench"),
        (["--bench", "--dry-run"], "--bench means nothing with --dry-run"),
        (["--bench", "-j", "2"], "--bench measures one model at a time"),
        (["--bench", "--bench-level", "fast"], "'fast' is not one of"),
    ],
)
def test_contradictions(asked, model, capsys, arguments, message):
    assert main([model, *arguments]) == 2
    assert message in capsys.readouterr().err
    assert asked == []
