"""ONNX models timed before and after: what is run, where, and what becomes of trouble."""

import subprocess
import sys

import numpy as np
import onnx
import pytest

import bnfold
from bnfold.errors import UncheckedError, UsageError
from bnfold.guard import can_guard
from bnfold.latency import under_onnxruntime
from bnfold.latency.under_onnxruntime import time_models
from bnfold.timings import BenchOptions
from bnfold.verification import VerifyOptions
from tests.networks import Network

ONCE = BenchOptions(seconds=0)


def small(shape=(2, 3, 6, 6)):
    network = Network()
    network.node("Conv", ["x", network.weight("w", 4, 3, 3, 3)], "c")
    network.batch_norm("c", "y", 4)
    return network.model({"x": shape}, ["y"])


@pytest.fixture
def opened(monkeypatch):
    """The sessions that are opened: level, threads, provider, and whether they ran."""
    found = []
    real = under_onnxruntime._open

    def noted(source, provider, level, threads, libraries):
        session = real(source, provider, level, threads, libraries)
        settings = session.get_session_options()
        found.append((level, settings.graph_optimization_level.name, settings.intra_op_num_threads))
        return session

    monkeypatch.setattr(under_onnxruntime, "_open", noted)
    return found


def test_every_level_is_timed_with_every_number_of_threads(opened):
    how = BenchOptions(levels=("disabled", "all"), threads=(1, 2), seconds=0)
    made = bnfold.fold(small(), bench=how).report
    assert [(entry.setting, entry.threads) for entry in made.latencies] == [
        ("disabled", 1),
        ("disabled", 2),
        ("all", 1),
        ("all", 2),
    ]
    for entry in made.latencies:
        assert entry.problem == ""
        assert entry.runs >= 10
        assert 0 < entry.original.low <= entry.original.median <= entry.original.high
        assert 0 < entry.folded.low <= entry.folded.median <= entry.folded.high
    assert opened[::2] == opened[1::2], "both models in the same kind of session"
    assert opened[::2] == [
        ("disabled", "ORT_DISABLE_ALL", 1),
        ("disabled", "ORT_DISABLE_ALL", 2),
        ("all", "ORT_ENABLE_ALL", 1),
        ("all", "ORT_ENABLE_ALL", 2),
    ]
    assert made.seconds.bench > 0


def test_without_being_asked_nothing_is_timed(opened):
    assert bnfold.fold(small()).report.latencies == ()
    assert bnfold.fold(small(), bench=False).report.latencies == ()
    assert opened == []


def test_where_nothing_folds_there_is_nothing_to_time(opened):
    network = Network()
    network.node("Relu", ["x"], "y")
    assert bnfold.fold(network.model({"x": (2, 3)}, ["y"]), bench=ONCE).report.latencies == ()
    assert opened == []


def test_it_needs_no_check_and_takes_the_shapes_of_the_caller():
    made = bnfold.fold(small(("n", 3, "h", "w")), bench=ONCE, verify=False, shapes={"x": (1, 3, 9, 9)})
    assert made.report.latencies[0].problem == ""


def test_both_run_on_the_same_real_samples(monkeypatch):
    fed = []
    real = under_onnxruntime._runner
    monkeypatch.setattr(
        under_onnxruntime, "_runner", lambda source, feeds, *rest: fed.append(feeds) or real(source, feeds, *rest)
    )
    x = np.random.default_rng(0).normal(size=(2, 3, 6, 6)).astype(np.float32)
    bnfold.fold(small(), bench=ONCE, verify=VerifyOptions(inputs={"x": x}))
    assert len(fed) == 2
    for feeds in fed:
        np.testing.assert_array_equal(feeds["x"], x)


def test_a_model_that_does_not_open_is_said_and_raises_nothing():
    (entry,) = time_models(small().SerializeToString(), b"no model", ONCE, VerifyOptions())
    assert entry.problem
    assert entry.verdict == "not measured"


def test_an_original_that_does_not_run_leaves_the_fold_as_it_is(monkeypatch):
    def refuse(*_):
        raise UncheckedError("the original does not run")

    monkeypatch.setattr(under_onnxruntime, "_first_sample", refuse)
    made = bnfold.fold(small(), bench=ONCE)
    assert made.report.verification.status == "passed"
    assert "nothing was timed: the original does not run" in made.report.warnings


def test_an_unknown_provider_is_said():
    with pytest.raises(UsageError, match="no provider 'Abacus'"):
        bnfold.fold(small(), bench=BenchOptions(provider="Abacus"))


def test_sequences_are_fed():
    network = Network()
    network.node("SequenceAt", ["x", network.constant("i", 1, "int64")], "t")
    network.node("Conv", ["t", network.weight("w", 4, 3, 3, 3)], "c")
    network.batch_norm("c", "y", 4)
    model = network.model({"x": (2, 3, 6, 6)}, {"y": (2, 4, 4, 4)}, check=False)
    model.graph.input[0].CopyFrom(
        onnx.helper.make_tensor_sequence_value_info("x", onnx.TensorProto.FLOAT, (2, 3, 6, 6))
    )
    made = bnfold.fold(model, bench=ONCE)
    assert [entry.problem for entry in made.report.latencies] == [""]


GUARDED = """
import os, signal, sys
from bnfold.cli.main import main
from bnfold.latency import under_onnxruntime

def crash(*_):
    os.kill(os.getpid(), signal.SIGSEGV)

def hang(*_):
    while True:
        pass

fate = sys.argv.pop(1)
if fate != "ends":
    under_onnxruntime.take_turns = {"crashes": crash, "hangs": hang}[fate]
sys.exit(main(sys.argv[1:]))
"""


@pytest.mark.skipif(not can_guard(), reason="this system cannot fork")
@pytest.mark.parametrize(
    ("fate", "code", "said"),
    [
        ("ends", 0, "in turns; half of all runs"),
        ("crashes", 5, "latency could not be measured: the model crashed the process that read it (SIGSEGV)"),
        ("hangs", 5, "latency could not be measured: the model needs more than 2 seconds of processor time"),
    ],
)
def test_it_is_measured_in_a_guarded_process(tmp_path, fate, code, said):
    """In an interpreter of its own, since this one has threads of onnxruntime, and a fork of it may wait for ever."""
    onnx.save(small(), tmp_path / "m.onnx")
    options = ["--bench", "--bench-seconds", "0", "--time-limit", "2"]
    result = subprocess.run(
        [sys.executable, "-c", GUARDED, fate, str(tmp_path / "m.onnx"), *options],
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == code, result.stderr
    assert said in " ".join((result.stdout + result.stderr).split())
    assert sorted(path.name for path in tmp_path.iterdir()) == (
        ["m.folded.onnx", "m.onnx"] if code == 0 else ["m.onnx"]
    )
