"""The command as its users meet it: a process, real files, real folds."""

import json
import os
import pty
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from tests.networks import Network

COMMAND = [sys.executable, "-c", "import sys; from bnfold.cli.main import main; sys.exit(main())"]


def bnfold(*arguments, cwd):
    done = subprocess.run([*COMMAND, *map(str, arguments)], cwd=cwd, capture_output=True, text=True, timeout=120)
    assert "Traceback" not in done.stdout + done.stderr
    return done


def conv_and_batch_norm(kept=False):
    """Conv -> BatchNorm, and a Softmax -> BatchNorm that cannot go where it is asked for."""
    network = Network(seed=3)
    network.node("Conv", ["x", network.weight("w", 4, 3, 3, 3)], "conv")
    network.batch_norm("conv", "y", 4)
    if kept:
        network.node("Softmax", ["y"], "soft", axis=1)
        network.batch_norm("soft", "z", 4)
    return network.model({"x": ["batch", 3, 8, 8]}, ["z" if kept else "y"])


@pytest.fixture
def folder(tmp_path):
    onnx.save(conv_and_batch_norm(), tmp_path / "m.onnx")
    onnx.save(conv_and_batch_norm(kept=True), tmp_path / "kept.onnx")
    return tmp_path


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_folds_a_model_and_leaves_the_input_alone(folder):
    before = (folder / "m.onnx").read_bytes()

    done = bnfold("m.onnx", "--report", "r.json", "--report", "r.html", cwd=folder)

    assert (done.returncode, done.stderr) == (0, "")
    assert "1 of 1 BatchNorm folded" in done.stdout
    assert "Check passed on 6 samples, seed 0" in done.stdout
    assert [node.op_type for node in onnx.load(folder / "m.folded.onnx").graph.node] == ["Conv"]
    assert (folder / "m.onnx").read_bytes() == before
    value = json.loads((folder / "r.json").read_text())
    assert value["output"] == "m.folded.onnx"
    assert value["verification"]["status"] == "passed"
    assert value["bytes"]["after"] == (folder / "m.folded.onnx").stat().st_size
    assert names(folder) == ["kept.onnx", "m.folded.onnx", "m.onnx", "r.html", "r.json"]


def test_same_input_gives_same_bytes(folder):
    bnfold("m.onnx", "-o", "one.onnx", cwd=folder)
    bnfold("m.onnx", "-o", "two.onnx", cwd=folder)

    assert (folder / "one.onnx").read_bytes() == (folder / "two.onnx").read_bytes()


def test_samples_shapes_and_dimensions_reach_the_check(folder):
    np.save(folder / "x.npy", np.random.default_rng(0).normal(size=(6, 3, 8, 8)).astype(np.float32))

    for option in (["--dim", "batch=2"], ["--shape", "x=2,3,8,8"], ["--input", "x=x.npy"]):
        done = bnfold("m.onnx", *option, cwd=folder)
        assert (done.returncode, done.stderr) == (0, "")
    wrong = bnfold("m.onnx", "--shape", "x=2,5,8,8", cwd=folder)
    assert wrong.returncode in (1, 2)
    assert wrong.stderr.count("\n") == 1


def test_a_check_that_fails_writes_nothing(folder):
    done = bnfold("m.onnx", "--rtol", "0", "--report", "r.json", cwd=folder)

    assert done.returncode == 1
    assert done.stderr.startswith("bnfold: m.onnx: ")
    assert done.stderr.count("\n") == 1
    assert "Nothing was written: the check failed" in done.stdout
    value = json.loads((folder / "r.json").read_text())
    assert (value["output"], value["verification"]["status"]) == (None, "failed")
    assert names(folder) == ["kept.onnx", "m.onnx", "r.json"]


def test_fail_on_kept_is_4_and_says_why(folder):
    done = bnfold("kept.onnx", "--fail-on-kept", cwd=folder)

    assert done.returncode == 4
    assert "1 of 2 BatchNorms folded, 1 stays" in done.stdout
    assert "soft_node" in done.stdout
    assert (folder / "kept.folded.onnx").exists()


def test_in_place_replaces_the_model_behind_a_link(folder):
    (folder / "link.onnx").symlink_to("m.onnx")

    assert bnfold("link.onnx", "-o", "m.onnx", cwd=folder).returncode == 2
    assert bnfold("link.onnx", "-o", "m.onnx", "--in-place", cwd=folder).returncode == 0

    assert (folder / "link.onnx").is_symlink()
    assert [node.op_type for node in onnx.load(folder / "m.onnx").graph.node] == ["Conv"]


def bad_inputs(folder):
    (folder / "empty.onnx").touch()
    (folder / "text.onnx").write_text("This is no model, but a sentence of some length.\n" * 20)
    (folder / "truncated.onnx").write_bytes((folder / "m.onnx").read_bytes()[:-100])
    (folder / "folder.onnx").mkdir()
    onnx.save(
        conv_and_batch_norm(), folder / "data.onnx", save_as_external_data=True, location="gone.bin", size_threshold=0
    )
    (folder / "gone.bin").unlink()
    return ["empty.onnx", "text.onnx", "truncated.onnx", "folder.onnx", "data.onnx", "missing.onnx"]


def test_bad_input_is_one_line_and_exit_3(folder):
    bad = bad_inputs(folder)
    before = names(folder)

    for name in bad:
        done = bnfold(name, cwd=folder)
        assert done.returncode == 3, name
        assert done.stdout == ""
        assert done.stderr.startswith(f"bnfold: {name}: ")
        assert done.stderr.count("\n") == 1

    assert names(folder) == before


def test_one_bad_model_does_not_stop_the_others(folder):
    bad = bad_inputs(folder)

    done = bnfold(*bad, "m.onnx", "kept.onnx", "-o", "out", "--fail-on-kept", "--report", "r.json", cwd=folder)

    assert done.returncode == 3
    assert names(folder / "out") == ["kept.folded.onnx", "m.folded.onnx"]
    value = json.loads((folder / "r.json").read_text())
    assert [each["input"] for each in value["reports"]] == ["m.onnx", "kept.onnx"]
    assert [each["input"] for each in value["failures"]] == bad


def test_no_permission_to_write(folder):
    (folder / "locked").mkdir(mode=0o500)
    if os.access(folder / "locked", os.W_OK):
        pytest.skip("this user may write everywhere")

    done = bnfold("m.onnx", "-o", "locked/m.onnx", cwd=folder)

    assert done.returncode == 2
    assert done.stderr.startswith("bnfold: m.onnx: ")
    assert done.stderr.count("\n") == 1


def test_no_permission_to_read(folder):
    (folder / "kept.onnx").chmod(0)
    if os.access(folder / "kept.onnx", os.R_OK):
        pytest.skip("this user may read everything")

    done = bnfold("kept.onnx", "m.onnx", cwd=folder)

    assert done.returncode == 3
    assert done.stderr == "bnfold: kept.onnx: cannot be read: Permission denied\n"
    assert (folder / "m.folded.onnx").exists()


def test_an_output_under_a_file_is_wrong_usage(folder):
    done = bnfold("m.onnx", "-o", "kept.onnx/m.onnx", cwd=folder)

    assert done.returncode == 2
    assert done.stderr.count("\n") == 1


def test_a_reader_that_goes_away_is_no_error(folder):
    process = subprocess.Popen(
        [*COMMAND, "m.onnx", "kept.onnx"], cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    process.stdout.close()
    errors = process.stderr.read()
    process.stderr.close()

    assert process.wait(timeout=120) == 0
    assert errors == b""
    assert {"m.folded.onnx", "kept.folded.onnx"} <= set(names(folder))


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_results_that_cannot_be_printed_are_one_line(folder):
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [*COMMAND, "m.onnx"], cwd=folder, stdout=full, stderr=subprocess.PIPE, text=True, timeout=120
        )

    assert done.returncode == 2
    assert done.stderr == "bnfold: the results cannot be printed: No space left on device\n"


def endless():
    """A model with a Loop that never ends: its check takes as long as it is let."""
    network = Network(seed=4)
    network.node("Conv", ["x", network.weight("w", 4, 3, 3, 3)], "conv")
    network.batch_norm("conv", "y", 4)
    model = network.model({"x": ["batch", 3, 8, 8]}, ["y"])
    flag, turn, state = (helper.make_tensor_value_info(name, kind, []) for name, kind in (("c", 9), ("i", 7), ("s", 1)))
    nodes = [helper.make_node("Identity", ["c"], ["d"]), helper.make_node("Identity", ["s"], ["t"])]
    made = [helper.make_tensor_value_info(name, kind, []) for name, kind in (("d", 9), ("t", 1))]
    body = helper.make_graph(nodes, "body", [turn, flag, state], made)
    model.graph.initializer.append(numpy_helper.from_array(np.array(True), "go"))
    model.graph.initializer.append(numpy_helper.from_array(np.array(0, np.float32), "zero"))
    model.graph.node.append(helper.make_node("Loop", ["", "go", "zero"], ["z"], body=body))
    model.graph.output.append(helper.make_tensor_value_info("z", 1, []))
    return model


def test_interrupt_is_130_and_leaves_nothing(folder):
    onnx.save(endless(), folder / "slow.onnx")
    process = subprocess.Popen(
        [*COMMAND, "slow.onnx", "-o", "out/"],
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        # A shell without job control starts what runs in the background deaf to interrupts, and so would this be.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    while not list(folder.glob("out/.*/*")):  # until the fold is staged: what follows is the check
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    out, errors = process.communicate(timeout=120)

    assert process.returncode == 130
    assert (out, errors) == (b"", b"bnfold: interrupted\n")
    assert names(folder) == ["kept.onnx", "m.onnx", "slow.onnx"]


@pytest.mark.parametrize(("no_color", "colored"), [("", True), ("1", False)])
def test_colour_on_a_terminal_unless_unwanted(folder, no_color, colored):
    screen, terminal = pty.openpty()
    subprocess.run(
        [*COMMAND, "m.onnx"],
        cwd=folder,
        stdout=terminal,
        stderr=subprocess.DEVNULL,
        env={**os.environ, "NO_COLOR": no_color, "TERM": "xterm"},
        check=True,
        timeout=120,
    )
    os.close(terminal)
    printed = os.read(screen, 1 << 16)
    os.close(screen)

    assert b"passed" in printed
    assert (b"\x1b[" in printed) is colored


def test_names_that_the_terminal_cannot_show_are_spelled_out(folder):
    (folder / "m.onnx").rename(folder / "é→.onnx")

    done = subprocess.run(
        [*COMMAND, "é→.onnx", "gone→.onnx"],
        cwd=folder,
        capture_output=True,
        env={**os.environ, "PYTHONIOENCODING": "ascii", "PYTHONUTF8": "1"},
        timeout=120,
    )

    assert done.returncode == 3
    assert done.stdout.startswith(rb"\xe9\u2192.onnx")
    assert done.stderr.startswith(rb"bnfold: gone\u2192.onnx: ")


def test_a_model_that_crashes_its_reader_takes_no_other_along(folder):
    """Nothing is left of it but a line: the other models are folded, and no temporary file stays."""
    program = """
import os, signal, sys
from bnfold.api import onnx_models
from bnfold.cli.main import main
real = onnx_models.open_model
def crash(path):
    if path.name == "kept.onnx":
        os.kill(os.getpid(), signal.SIGFPE)
    return real(path)
onnx_models.open_model = crash
sys.exit(main())
"""
    command = [sys.executable, "-c", program, "kept.onnx", "m.onnx"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=120)

    assert done.returncode == 3
    assert done.stderr == "bnfold: kept.onnx: crashed the process that read it (SIGFPE), while reading\n"
    assert names(folder) == ["kept.onnx", "m.folded.onnx", "m.onnx"]


@pytest.mark.parametrize(("option", "value"), [("--time-limit", "0.05"), ("--memory-limit", "1MiB")])
def test_limits_are_those_that_were_given(folder, option, value):
    network = Network(seed=3)
    network.node("Conv", ["x", network.weight("w", 64, 64, 3, 3)], "conv")
    network.batch_norm("conv", "y", 64)
    onnx.save(network.model({"x": [8, 64, 256, 256]}, ["y"]), folder / "large.onnx")

    done = bnfold("large.onnx", option, value, cwd=folder)

    assert done.returncode in (3, 5)
    assert option in done.stderr
    assert done.stderr.count("\n") == 1
    assert "large.folded.onnx" not in names(folder)
