"""The command ended, starved or misled at a bad moment: the input is as it was, the output whole or not there."""

import os
import signal
import subprocess
import sys

import onnx
import pytest

from tests.networks import Network
from tests.signals import hear_signals

resource = pytest.importorskip("resource", reason="limits of a process are Unix's")

COMMAND = [sys.executable, "-m", "bnfold"]


def network(seed=3, channels=64):
    built = Network(seed=seed)
    built.batch_norm(built.node("Conv", ["x", built.weight("w", channels, 64, 3, 3)], "conv"), "y", channels)
    return built.model({"x": ["batch", 64, 8, 8]}, ["y"])


@pytest.fixture(params=["inside", "beside"])
def folder(request, tmp_path):
    """A model of 150 kB, and an older result of its fold; the weights are inside of both, or beside."""
    for name, seed in (("m.onnx", 3), ("out.onnx", 4)):
        data = {"save_as_external_data": True, "location": f"{name}.data", "size_threshold": 1024}
        onnx.save(network(seed), tmp_path / name, **(data if request.param == "beside" else {}))
    return tmp_path


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def call(folder, *arguments, **options):
    return subprocess.run(
        [*COMMAND, *arguments, "-q"], cwd=folder, capture_output=True, text=True, timeout=300, check=False, **options
    )


@pytest.mark.parametrize(
    "arguments", [["-o", "new.onnx"], ["-o", "out.onnx", "--no-verify"], ["--in-place", "--no-verify"]]
)
def test_a_disk_without_room(folder, arguments):
    """The size that a file may have stands for it: what is written meets an error in the middle."""
    before = contents(folder)
    limit = 100_000
    done = call(
        folder, "m.onnx", *arguments, preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
    )

    assert done.returncode == 2
    assert done.stderr.endswith("cannot be written: File too large\n")
    assert done.stderr.count("\n") == 1
    assert contents(folder) == before


@pytest.mark.parametrize("folder", ["beside"], indirect=True)
def test_a_folder_that_takes_no_files(folder):
    """An immutable one, which not even root writes to."""
    before = contents(folder)
    if subprocess.run(["chattr", "+i", folder], capture_output=True, check=False).returncode:
        pytest.skip("this file system knows no immutable folders, or this user may not make them")
    try:
        done = call(folder, "m.onnx", "-o", "new.onnx", "--no-verify")
    finally:
        subprocess.run(["chattr", "-i", folder], check=True)

    assert done.returncode == 2
    assert "cannot be written: Operation not permitted" in done.stderr
    assert done.stderr.count("\n") == 1
    assert contents(folder) == before


SIGNALLED = """
import os, sys
module, number = sys.argv.pop(1), int(sys.argv.pop(1))
class Signals:
    def find_spec(self, name, path=None, target=None):
        if name == module:
            os.kill(os.getpid(), number)
sys.meta_path.insert(0, Signals())
from bnfold.cli.process import run_and_exit
run_and_exit()
"""


@pytest.mark.parametrize("folder", ["inside"], indirect=True)
@pytest.mark.parametrize(
    ("module", "number", "told"),
    [
        ("click", signal.SIGINT, "interrupted"),
        ("bnfold.cli.run", signal.SIGTERM, "terminated"),
        ("bnfold.api.files", signal.SIGHUP, "hung up"),
        ("bnfold.guard", signal.SIGINT, "interrupted"),
    ],
)
def test_a_signal_while_it_starts(folder, module, number, told):
    """It comes while a module is imported, and ends the call as it does later."""
    before = contents(folder)
    done = subprocess.run(
        [sys.executable, "-c", SIGNALLED, module, str(int(number)), "m.onnx", "-o", "new.onnx"],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=300,
        preexec_fn=hear_signals,
    )

    assert (done.returncode, done.stdout, done.stderr) == (128 + number, "", f"bnfold: {told}\n")
    assert contents(folder) == before


WAITS_FOR_ITS_FILE = """
import os, sys, time
from bnfold.api.formats import onnx as onnx_models
from bnfold.cli.main import main
pipe, mapped = int(sys.argv.pop(1)), sys.argv.pop(1)
real = onnx_models.open_model
def opened(path):
    model = real(path)
    os.write(pipe, b"opened")
    while os.stat(mapped).st_size > 4096:
        time.sleep(0.01)
    return model
onnx_models.open_model = opened
sys.exit(main())
"""


def test_a_file_that_shrinks_while_it_is_read(folder):
    """It is mapped, and to read what is gone ends the process that reads: not this one, which says why."""
    mapped = next(path for path in (folder / "m.onnx.data", folder / "m.onnx") if path.exists())
    before = contents(folder)
    reading, writing = os.pipe()
    call = subprocess.Popen(
        [sys.executable, "-c", WAITS_FOR_ITS_FILE, str(writing), mapped.name, "m.onnx", "-o", "out.onnx", "-q"],
        cwd=folder,
        stderr=subprocess.PIPE,
        text=True,
        pass_fds=[writing],
    )
    os.close(writing)
    assert os.read(reading, 6) == b"opened"
    os.close(reading)
    os.truncate(mapped, 4096)
    errors = call.communicate(timeout=300)[1]

    assert call.returncode == 3
    assert errors.startswith(f"bnfold: m.onnx: was changed while it was read ({mapped.name}), and nothing")
    assert errors.count("\n") == 1
    assert contents(folder) == {**before, mapped.name: mapped.read_bytes()}


def test_two_calls_at_once_onto_one_file(folder):
    """Whoever is last, the model that is there finds its data; data of the other one is gone."""
    calls = [
        subprocess.Popen(
            [*COMMAND, "m.onnx", "-o", "out.onnx", "--no-verify", "-q"], cwd=folder, stderr=subprocess.PIPE
        )
        for _ in range(3)
    ]
    assert [(each.communicate(timeout=300)[1], each.returncode) for each in calls] == [(b"", 0)] * 3

    assert [node.op_type for node in onnx.load(folder / "out.onnx").graph.node] == ["Conv"]
    assert len(contents(folder)) == (4 if (folder / "m.onnx.data").exists() else 2)
