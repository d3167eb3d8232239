"""The command as its users meet it: a process, real files, real folds."""

import json
import os
import pty
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from bnfold.cli.main import main
from tests.forked import in_fork
from tests.networks import Network

COMMAND = [sys.executable, "-c", "import sys; from bnfold.cli.main import main; sys.exit(main())"]


def bnfold(*arguments, cwd, **options):
    """What a call says and how it ends, in text."""
    done = in_fork(lambda: main([*map(str, arguments)]), cwd, **options)
    done.stdout, done.stderr = done.stdout.decode(), done.stderr.decode()
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


def words(printed):
    """What is said, wherever lines are wrapped and columns begin."""
    return " ".join(printed.split())


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_folds_a_model_and_leaves_the_input_alone(folder):
    """Started as users start it."""
    before = (folder / "m.onnx").read_bytes()

    command = [*COMMAND, "m.onnx", "--report", "r.json", "--report", "r.html"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=120, check=False)

    assert (done.returncode, done.stderr) == (0, "")
    assert "BatchNorms 1 -> 0 1 folded" in words(done.stdout)
    assert "Same results yes 6 inputs; largest difference" in words(done.stdout)
    assert [node.op_type for node in onnx.load(folder / "m.folded.onnx").graph.node] == ["Conv"]
    assert (folder / "m.onnx").read_bytes() == before
    (value,) = json.loads((folder / "r.json").read_text())["models"]
    assert value["output"] == "m.folded.onnx"
    assert value["verification"]["status"] == "passed"
    assert value["bytes"]["after"] == (folder / "m.folded.onnx").stat().st_size
    assert names(folder) == ["kept.onnx", "m.folded.onnx", "m.onnx", "r.html", "r.json"]


def test_same_input_gives_same_bytes(folder):
    """In two processes, each with a seed of its own for the hashes of texts."""
    for name in ("one.onnx", "two.onnx"):
        subprocess.run([*COMMAND, "m.onnx", "--no-verify", "-o", name], cwd=folder, timeout=120, check=True)

    assert (folder / "one.onnx").read_bytes() == (folder / "two.onnx").read_bytes()


def test_samples_shapes_and_dimensions_reach_the_check(folder, monkeypatch, capfd):
    np.save(folder / "x.npy", np.random.default_rng(0).normal(size=(6, 3, 8, 8)).astype(np.float32))
    monkeypatch.chdir(folder)

    for option in (["--dim", "batch=2"], ["--shape", "x=2,3,8,8"], ["--input", "x=x.npy"]):
        assert main(["m.onnx", *option]) == 0
        assert capfd.readouterr().err == ""
    assert main(["m.onnx", "--shape", "x=2,5,8,8"]) == 2
    assert capfd.readouterr().err.count("\n") == 1


def test_a_check_that_fails_writes_nothing(folder):
    done = bnfold("m.onnx", "--rtol", "0", "--report", "r.json", cwd=folder)

    assert done.returncode == 1
    assert done.stderr.startswith("bnfold: m.onnx: ")
    assert done.stderr.count("\n") == 1
    assert "Nothing was written: the check failed" in done.stdout
    (value,) = json.loads((folder / "r.json").read_text())["models"]
    assert (value["output"], value["verification"]["status"]) == (None, "failed")
    assert names(folder) == ["kept.onnx", "m.onnx", "r.json"]


def test_fail_on_kept_is_4_and_says_why(folder):
    done = bnfold("kept.onnx", "--fail-on-kept", cwd=folder)

    assert done.returncode == 4
    assert "BatchNorms 2 -> 1 1 folded, 1 left" in words(done.stdout)
    assert "Left 1 cannot be folded by any rewrite of this file" in words(done.stdout)
    assert "it is z_node" in words(done.stdout)
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


def test_bad_input_is_one_line_and_exit_3(folder, monkeypatch, capfd):
    bad = bad_inputs(folder)
    before = names(folder)
    monkeypatch.chdir(folder)

    for name in bad:
        assert main([name]) == 3, name
        told = capfd.readouterr()
        assert told.out == ""
        assert told.err.startswith(f"bnfold: {name}: ")
        assert told.err.count("\n") == 1
    done = bnfold(bad[-1], cwd=folder)
    assert (done.returncode, done.stdout, done.stderr) == (3, "", told.err)

    assert names(folder) == before


def test_one_bad_model_does_not_stop_the_others(folder):
    bad = bad_inputs(folder)

    done = bnfold(*bad, "m.onnx", "kept.onnx", "-o", "out", "--fail-on-kept", "--report", "r.json", cwd=folder)

    assert done.returncode == 3
    assert names(folder / "out") == ["kept.folded.onnx", "m.folded.onnx"]
    value = json.loads((folder / "r.json").read_text())
    assert [each["input"] for each in value["models"]] == ["m.onnx", "kept.onnx"]
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
            [*COMMAND, "m.onnx", "kept.onnx", "--report", "r.json"],
            cwd=folder,
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            timeout=120,
        )

    assert done.returncode == 2
    assert done.stderr == "bnfold: the results cannot be printed: No space left on device\n"
    value = json.loads((folder / "r.json").read_text())
    assert [each["output"] for each in value["models"]] == ["m.folded.onnx"]
    assert [each["input"] for each in value["failures"]] == ["kept.onnx"]


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


def at_work(folder, *arguments, start=None):
    """A process that checks a model for ever, for out/slow.folded.onnx, so that a signal meets it at work."""
    onnx.save(endless(), folder / "slow.onnx")
    process = subprocess.Popen(
        [*COMMAND, "slow.onnx", "-o", "out/", *arguments],
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        preexec_fn=start,
    )
    while not list(folder.glob("out/.*/*")):  # until the fold is staged: what follows is the check
        assert process.poll() is None
        time.sleep(0.01)
    return process


def hear_interrupts():
    """What a shell runs in the background, or nohup runs, starts deaf to some of them, and so would this."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)


@pytest.mark.parametrize(
    ("number", "code", "told"),
    [
        (signal.SIGINT, 130, "interrupted"),
        (signal.SIGTERM, 143, "terminated"),
        (signal.SIGHUP, 129, "hung up"),
    ],
)
def test_signals_leave_nothing_but_the_report(folder, number, code, told):
    (folder / "r.json").write_text("of yesterday")
    process = at_work(folder, "--report", "r.json", start=hear_interrupts)
    process.send_signal(number)
    out, errors = process.communicate(timeout=120)

    assert process.returncode == code
    assert (out, errors) == (b"", f"bnfold: {told}\n".encode())
    assert names(folder) == ["kept.onnx", "m.onnx", "r.json", "slow.onnx"]
    (failure,) = json.loads((folder / "r.json").read_text())["failures"]
    assert (failure["input"], failure["exit_code"], failure["message"]) == ("slow.onnx", code, told)


def start_like_nohup():
    hear_interrupts()
    signal.signal(signal.SIGHUP, signal.SIG_IGN)


def test_a_signal_that_is_to_be_ignored_is(folder):
    process = at_work(folder, start=start_like_nohup)
    process.send_signal(signal.SIGHUP)
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=120)

    assert process.returncode == 130


def test_what_a_killed_call_left_goes_with_the_next_one(folder):
    process = at_work(folder)
    process.kill()
    process.communicate(timeout=120)
    assert list((folder / "out").glob(".slow.folded.onnx.*"))

    assert bnfold("m.onnx", "-o", "out/m.onnx", cwd=folder).returncode == 0
    assert list((folder / "out").glob(".slow.folded.onnx.*"))
    assert bnfold("m.onnx", "-o", "out/slow.folded.onnx", cwd=folder).returncode == 0
    assert names(folder / "out") == ["m.onnx", "slow.folded.onnx"]


def test_a_call_at_work_is_left_alone(folder):
    process = at_work(folder, start=hear_interrupts)
    (staged,) = (folder / "out").glob(".*")

    assert bnfold("m.onnx", "-o", "out/slow.folded.onnx", cwd=folder).returncode == 0
    assert list(staged.iterdir())
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=120)
    assert names(folder / "out") == ["slow.folded.onnx"]


def externalized(folder, data="m.onnx.data"):
    """A model whose folded weights are large enough for a data file as well."""
    network = Network(seed=3)
    network.batch_norm(network.node("Conv", ["x", network.weight("w", 64, 3, 3, 3)], "conv"), "y", 64)
    model = network.model({"x": ["batch", 3, 8, 8]}, ["y"])
    onnx.save(model, folder / "m.onnx", save_as_external_data=True, location=data, size_threshold=1024)


def test_in_place_with_data_that_cannot_be_replaced(folder):
    """Until the model is, the data is the old one; an immutable file, which not even root replaces, shows it."""
    externalized(folder)
    before = {name: (folder / name).read_bytes() for name in names(folder)}
    if subprocess.run(["chattr", "+i", folder / "m.onnx"], capture_output=True, check=False).returncode:
        pytest.skip("this file system knows no immutable files, or this user may not make them")
    try:
        done = bnfold("m.onnx", "--in-place", cwd=folder)
    finally:
        subprocess.run(["chattr", "-i", folder / "m.onnx"], check=True)

    assert (done.returncode, done.stderr) == (
        2,
        f"bnfold: m.onnx: {folder}/m.onnx cannot be written: Operation not permitted\n",
    )
    assert {name: (folder / name).read_bytes() for name in names(folder)} == before


def test_in_place_tells_of_data_that_stays(folder):
    externalized(folder, "weights.bin")

    done = bnfold("m.onnx", "--in-place", "-q", cwd=folder)

    assert done.returncode == 0
    assert done.stderr.startswith("bnfold: m.onnx: warning: weights.bin held data of the model that was replaced")
    assert names(folder) == ["kept.onnx", "m.onnx", "m.onnx.data", "weights.bin"]


@pytest.mark.parametrize("external", [False, True])
def test_names_that_are_no_text(folder, external):
    """File systems take any bytes for a name; ONNX files hold UTF-8, and onnxruntime wants it too."""
    odd = os.fsdecode(b"\xff")
    (folder / f"d{odd}").mkdir()
    if external:
        externalized(folder)
        (folder / "m.onnx.data").replace(folder / f"d{odd}" / "m.onnx.data")
    (folder / "m.onnx").replace(folder / f"d{odd}" / "m.onnx")

    for arguments in (["m.onnx", "-o", f"{odd}.onnx"], [f"{odd}.onnx", "--in-place"], ["m.onnx", "--in-place"]):
        done = bnfold(*arguments, "-q", "--samples", "1", cwd=folder / f"d{odd}")
        assert (done.returncode, done.stderr) == (0, "")
    left = ["m.onnx", f"{odd}.onnx", *(["\N{REPLACEMENT CHARACTER}.onnx.data"] if external else [])]
    assert set(left) <= set(names(folder / f"d{odd}"))
    for name in ("m.onnx", f"{odd}.onnx"):
        model = onnx.load_from_string((folder / f"d{odd}" / name).read_bytes())
        assert [node.op_type for node in model.graph.node] == ["Conv"]


@pytest.mark.parametrize("source", ["m.onnx", "kept.onnx"])
def test_a_report_may_not_replace_data_of_a_model(folder, source):
    """Neither that of a model to fold, nor that of a model to be replaced."""
    externalized(folder, "d.json")
    before = (folder / "d.json").read_bytes()

    done = bnfold(source, "-o", "m.onnx", "--in-place", "--report", "d.json", cwd=folder)

    assert done.returncode == 2
    assert "--report d.json: this is data of" in done.stderr
    assert (folder / "d.json").read_bytes() == before


def test_a_result_may_not_replace_data_of_another_model(folder):
    (folder / "out").mkdir()
    onnx.save(
        onnx.load(folder / "m.onnx"),
        folder / "out" / "m.onnx",
        save_as_external_data=True,
        location="kept.folded.onnx",
        size_threshold=0,
    )

    done = bnfold("kept.onnx", "out/m.onnx", "-o", "out", cwd=folder)

    assert done.returncode == 2
    assert "out/kept.folded.onnx holds data of out/m.onnx" in done.stderr


@pytest.mark.parametrize("name", ["-", "/dev/stdout", "/proc/self/fd/1", "/dev/fd/1"])
@pytest.mark.parametrize("redirected", [False, True])
def test_a_model_on_standard_output(folder, name, redirected):
    with (folder / "out").open("wb") as file:
        file.write(b"#")  # what was there before is not written over, as with >>
        file.flush()
        done = in_fork(lambda: main(["m.onnx", "-o", name]), folder, stdout=file.fileno() if redirected else None)
    content = (folder / "out").read_bytes()[1:] if redirected else done.stdout

    assert done.returncode == 0
    assert [node.op_type for node in onnx.load_from_string(content).graph.node] == ["Conv"]
    assert "BatchNorms 1 -> 0 1 folded" in words(done.stderr.decode())


def test_a_report_on_standard_output(folder):
    done = bnfold("m.onnx", "kept.onnx", "--report", "-", cwd=folder)

    assert [each["input"] for each in json.loads(done.stdout)["models"]] == ["m.onnx", "kept.onnx"]
    assert "BatchNorms 1 -> 0 1 folded" in words(done.stderr)


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["m.onnx", "-o", "-", "--report", "-"], "this is the output"),
        (["m.onnx", "--report", "-", "--report", "-"], "this is another report"),
        (["m.onnx", "kept.onnx", "-o", "-"], "standard output takes one model, got 2"),
        (["m.onnx", "kept.onnx", "-o", "one.onnx"], "got the name of a file, expected a folder for 2 models"),
        (["m.onnx", "-o", "x.pt"], "x.pt is called like TorchScript, and ONNX would be written: call it x.onnx"),
        (["m.onnx", "-o", "x.PT2"], "ONNX would be written: call it x.onnx"),
    ],
)
def test_outputs_that_cannot_be_meant(folder, arguments, told):
    before = names(folder)
    done = bnfold(*arguments, cwd=folder)

    assert (done.returncode, done.stdout) == (2, "")
    assert told in done.stderr
    assert done.stderr.count("\n") == 1
    assert names(folder) == before


def on_a_terminal(*arguments, cwd, **variables):
    """A call whose standard output is a terminal, and what it shows."""
    screen, terminal = pty.openpty()
    environment = {**os.environ, "TERM": "xterm", **variables}
    done = bnfold(*arguments, cwd=cwd, environment=environment, stdout=terminal)
    os.close(terminal)
    shown = os.read(screen, 1 << 16) if done.returncode == 0 else b""
    os.close(screen)
    return done, shown


def test_a_terminal_gets_no_model(folder):
    done, _ = on_a_terminal("m.onnx", "-o", "-", cwd=folder)

    assert done.returncode == 2
    assert "standard output is a terminal" in done.stderr


def test_devices_for_everything(folder):
    done = bnfold("m.onnx", "-o", "/dev/null", "--report", "/dev/null", cwd=folder)

    assert (done.returncode, done.stderr) == (0, "")
    assert "Wrote /dev/null" in done.stdout
    assert stat.S_ISCHR(os.stat("/dev/null").st_mode)


def test_data_has_no_place_beside_standard_output(folder):
    externalized(folder)

    done = bnfold("m.onnx", "-o", "-", cwd=folder)

    assert (done.returncode, done.stdout) == (2, "")
    assert "takes one file, and the external data of the model needs one beside it" in done.stderr


def test_a_file_that_is_no_onnx_may_keep_its_ending(folder):
    (folder / "m.onnx").rename(folder / "m.pt")

    assert bnfold("m.pt", cwd=folder).returncode == 0
    assert names(folder) == ["kept.onnx", "m.folded.pt", "m.pt"]


def test_a_pattern_without_a_match(folder):
    done = bnfold("m.onnx", "--exclude", "typo", "--exclude", "conv*", "-q", cwd=folder)

    assert done.returncode == 0
    assert done.stderr == "bnfold: warning: --exclude 'typo' matches no node of m.onnx\n"


def test_the_second_time(folder):
    everything = sorted(name for name in names(folder))
    assert bnfold(*everything, cwd=folder).returncode == 0
    again = bnfold(*names(folder), cwd=folder)

    assert again.returncode == 0
    assert again.stderr.count("skipped") == 2
    assert names(folder) == ["kept.folded.onnx", "kept.onnx", "m.folded.onnx", "m.onnx"]


@pytest.mark.parametrize(
    ("variables", "colored"),
    [
        ({}, True),
        ({"NO_COLOR": "1"}, False),
        ({"NO_COLOR": ""}, True),
        ({"TERM": "dumb"}, False),
        ({"NO_COLOR": "1", "FORCE_COLOR": "1"}, False),
        ({"TERM": "dumb", "FORCE_COLOR": "1"}, True),
    ],
)
def test_colour_on_a_terminal_unless_unwanted(folder, variables, colored):
    _, printed = on_a_terminal("m.onnx", "--dry-run", cwd=folder, **variables)

    assert b"BatchNorms" in printed
    assert (b"\x1b[" in printed) is colored


@pytest.mark.parametrize(("arguments", "told"), [([], True), (["-v"], False), (["kept.onnx"], False)])
def test_a_terminal_says_how_to_see_more_of_one_model(folder, arguments, told):
    _, printed = on_a_terminal("m.onnx", "--dry-run", *arguments, cwd=folder)

    assert (b"-v: every node" in printed) is told
    assert b"-v: every node" not in bnfold("m.onnx", "--dry-run", *arguments, cwd=folder).stdout.encode()


@pytest.mark.parametrize(("forced", "colored"), [(None, False), ("", False), ("0", False), ("1", True), ("3", True)])
def test_colour_in_a_pipe_only_where_it_is_forced(folder, forced, colored):
    variables = {name: value for name, value in os.environ.items() if name not in ("FORCE_COLOR", "NO_COLOR")}
    environment = variables if forced is None else {**variables, "FORCE_COLOR": forced}
    done = bnfold("m.onnx", "--dry-run", cwd=folder, environment=environment)

    assert ("\x1b[" in done.stdout) is colored
    assert (done.returncode, done.stderr) == (0, "")


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
from bnfold.api.formats import onnx as onnx_models
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


@pytest.mark.parametrize(("option", "value", "code"), [("--time-limit", "0.05", 5), ("--memory-limit", "1MiB", 3)])
def test_limits_are_those_that_were_given(folder, option, value, code):
    network = Network(seed=3)
    network.node("Conv", ["x", network.weight("w", 64, 64, 3, 3)], "conv")
    network.batch_norm("conv", "y", 64)
    onnx.save(network.model({"x": [8, 64, 256, 256]}, ["y"]), folder / "large.onnx")

    command = [*COMMAND, "large.onnx", option, value]  # what was imported before would count as memory that is there
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=120, check=False)

    assert done.returncode == code
    assert option in done.stderr
    assert done.stderr.count("\n") == 1
    assert "large.folded.onnx" not in names(folder)


@pytest.mark.parametrize("closed", [(0,), (0, 1), (0, 1, 2)])
def test_streams_that_the_caller_has_closed_are_not_taken_by_other_files(folder, closed):
    """The pipe to the guarded process took their numbers, and every model was said to be broken."""
    start = "; ".join(f"os.close({number})" for number in closed)
    code = f"import os; {start}; from bnfold.cli.process import run_and_exit; run_and_exit()"
    done = subprocess.run(
        [sys.executable, "-c", code, "m.onnx", "-o", "out.onnx", "--no-verify"], cwd=folder, timeout=120, check=False
    )
    assert done.returncode == 0
    assert (folder / "out.onnx").exists()
