"""-j: several models at a time. Nothing that a call writes or prints depends on how many."""

import json
import re
import signal
import subprocess
import sys
import time

import onnx
import pytest

from bnfold.cli.main import main
from bnfold.guard import can_guard, finish_all
from bnfold.processors import usable
from tests.networks import Network
from tests.signals import hear_signals

pytestmark = pytest.mark.skipif(not can_guard(), reason="this system cannot fork")

_SECONDS = re.compile(r"in\s+[0-9.]+ s\b|\"seconds\": \{[^}]*\}")


def network(seed, channels):
    made = Network(seed=seed)
    made.node("Conv", ["x", made.weight("w", channels, 3, 3, 3)], "conv")
    made.batch_norm("conv", "y", channels)
    return made.model({"x": [1, 3, 8, 8]}, ["y"])


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Models that fold at different speed, one that stays, one that is none, and one with data beside it."""
    monkeypatch.chdir(tmp_path)
    onnx.save(network(1, 64), "slow.onnx")
    (tmp_path / "broken.onnx").write_bytes(b"no model")
    onnx.save(network(2, 2), "quick.onnx")
    onnx.save(network(3, 16), "outside.onnx", save_as_external_data=True, location="outside.data", size_threshold=0)
    return tmp_path


MODELS = ["slow.onnx", "broken.onnx", "quick.onnx", "outside.onnx"]


def written_by(capsys, folder, jobs):
    out = folder / "out"
    code = main([*MODELS, "-o", "out", "-j", jobs, "--samples", "1", "--report", "r.json", "--report", "r.html"])
    printed = capsys.readouterr()
    files = {path.name: path.read_bytes() for path in sorted(out.iterdir())}
    report = json.loads((folder / "r.json").read_text())
    for model in report["models"]:
        del model["seconds"]
    for path in out.iterdir():
        path.unlink()
    out.rmdir()
    lines = _SECONDS.sub("", printed.out).split()  # which wrap elsewhere where a time is longer
    return code, files, report, lines, printed.err


def test_the_same_whatever_the_number(folder, capsys):
    code, files, report, out, err = written_by(capsys, folder, "1")

    assert code == 3
    assert [model["input"] for model in report["models"]] == ["slow.onnx", "quick.onnx", "outside.onnx"]
    assert len(files) == 4
    for jobs in ("2", "4", "auto"):
        assert written_by(capsys, folder, jobs) == (code, files, report, out, err)


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize(("models", "jobs", "share"), [(4, "1", 12), (4, "3", 4), (2, "6", 6)])
def test_models_at_a_time_share_the_processors(monkeypatch, models, jobs, share):
    seen = []

    def finished(works, at_once):
        seen.append(usable())
        return finish_all(works, at_once)

    monkeypatch.setattr("os.sched_getaffinity", lambda _: range(12), raising=False)
    monkeypatch.setattr("bnfold.guard.finish_all", finished)
    main([*MODELS[:models], "-o", "out", "-j", jobs, "--no-verify", "-q"])
    assert seen == [share]


def test_data_that_two_models_share_in_place(tmp_path, monkeypatch, capsys):
    """What is said of the old data, and whether it goes, depends on which model is replaced first: in their order."""

    def folded_in_place(jobs):
        folder = tmp_path / jobs
        folder.mkdir()
        monkeypatch.chdir(folder)
        onnx.save(network(3, 64), "a.onnx", save_as_external_data=True, location="a.onnx.data", size_threshold=0)
        onnx.save(onnx.load("a.onnx", load_external_data=False), "b.onnx")
        assert main(["a.onnx", "b.onnx", "--in-place", "-j", jobs, "--no-verify"]) == 0
        files = {path.name: path.read_bytes() for path in folder.iterdir()}
        printed = capsys.readouterr()
        said = (_SECONDS.sub("", printed.out) + printed.err).replace(str(folder), "")
        return files, " ".join(said.split())

    alone = folded_in_place("1")
    assert "b.onnx reads it too" in alone[1]
    assert folded_in_place("2") == alone


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_all_of_them(folder, number):
    for name in ("a", "b", "c"):
        onnx.save(network(4, 8), f"{name}.onnx")
    before = sorted(path.name for path in folder.iterdir())
    command = [
        sys.executable,
        "-m",
        "bnfold",
        "a.onnx",
        "b.onnx",
        "c.onnx",
        "-o",
        "out",
        "-j",
        "3",
        "--samples",
        "9999999",
    ]
    process = subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, preexec_fn=hear_signals
    )
    while len(list((folder / "out").glob(".*.bnfold-*/*"))) < 3:
        time.sleep(0.02)
        assert process.poll() is None
    process.send_signal(number)
    _, err = process.communicate(timeout=60)

    assert process.returncode == 128 + number
    assert err.count("\n") == 1
    assert sorted(path.name for path in folder.iterdir()) == before


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize("given", ["0", "-1", "x", "1.5"])
def test_other_numbers_are_refused(capsys, given):
    assert main(["quick.onnx", "-j", given]) == 2
    assert "expected a whole number from 1 on, or auto" in capsys.readouterr().err
