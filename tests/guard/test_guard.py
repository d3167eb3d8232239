"""Work in a guarded process: its answer comes back, its death is one error, and it can do no harm outside."""

import os
import pickle
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path, PurePosixPath

import pytest
from onnx import GraphProto, ModelProto, TensorProto

from bnfold.errors import ModelFormatError, UncheckedError, UnexpectedError, UnsupportedModelError, VerificationError
from bnfold.guard import Limits, can_guard, run_guarded
from bnfold.guard.landlock import confine
from bnfold.guard.limits import private_memory
from bnfold.guard.messages import Receiver, Sender, read_value
from bnfold.refusal import Reason, Refusal
from bnfold.report.model import Failure

pytestmark = pytest.mark.skipif(not can_guard(), reason="this system cannot fork")


@pytest.fixture
def guarded(tmp_path):
    room = tmp_path / "room"
    room.mkdir()

    def run(work, *, limits=None, steps=None):
        told = steps.append if steps is not None else lambda _: None
        return run_guarded(work, told, tmp_path / "no.onnx", room, limits or Limits())

    return run


def test_gives_back_what_the_work_gives(guarded):
    steps = []

    def work(step):
        step("folding")
        step("comparing \ud800")
        return Failure("m.onnx", os.getpid(), "héllo")

    got = guarded(work, steps=steps)

    assert (got.input, got.message) == ("m.onnx", "héllo")
    assert got.exit_code != os.getpid()
    assert steps == ["folding", "comparing \\ud800"]


def test_a_refusal_keeps_its_reason(guarded):
    refusal = Refusal(Reason.OVERFLOW, "3 of 4", ("a", "b"))
    assert guarded(lambda _: refusal) == refusal


def test_large_answers_come_whole(guarded):
    assert guarded(lambda _: "x" * 5_000_000) == "x" * 5_000_000


def test_errors_are_those_of_the_work(guarded):
    report = Failure("m.onnx", 1, "differs")

    def differs(_):
        raise VerificationError("does not equal", report)

    with pytest.raises(VerificationError, match=r"^does not equal$") as caught:
        guarded(differs)
    assert caught.value.report == report
    with pytest.raises(ModelFormatError, match=r"^is empty$"):
        guarded(raising(ModelFormatError("is empty")))
    with pytest.raises(PermissionError) as denied:
        guarded(raising(PermissionError(13, "Permission denied", "m.onnx")))
    assert denied.value.filename == "m.onnx"


def test_a_bug_is_told_with_its_place(guarded):
    class OddError(Exception):
        pass

    with pytest.raises(UnexpectedError, match="unexpected OddError: what a pity; this is a bug in bnfold") as caught:
        guarded(raising(OddError("what a pity")))
    assert "in fail" in caught.value.trace


def raising(error):
    def fail(_):
        raise error

    return fail


@pytest.mark.parametrize(
    ("step", "expected"),
    [(None, UnsupportedModelError), ("folding", UnsupportedModelError), ("comparing", UncheckedError)],
)
def test_a_crash_is_an_error(guarded, step, expected):
    def crash(tell):
        if step:
            tell(step)
        os.kill(os.getpid(), signal.SIGSEGV)

    with pytest.raises(expected, match=rf"crashed the process that read it \(SIGSEGV\), while {step or 'reading'}$"):
        guarded(crash)


def test_leaving_without_an_answer_is_an_error(guarded):
    with pytest.raises(UnsupportedModelError, match=r"made a library give up, .* while reading"):
        guarded(lambda _: os._exit(0))


def test_endless_work_ends(guarded):
    def spin(tell):
        tell("folding")
        while True:
            pass

    with pytest.raises(UnsupportedModelError, match=r"more than 1 seconds .* \(Limits.seconds\), while folding"):
        guarded(spin, limits=Limits(seconds=1))


def test_waiting_for_ever_ends(guarded):
    with pytest.raises(UnsupportedModelError, match=r"Limits\.seconds"):
        guarded(lambda _: time.sleep(1000), limits=Limits(seconds=0.1))


def test_steps_that_go_on_are_not_cut_off(guarded):
    def slow(tell):
        for _ in range(4):
            spend(0.5)
            tell("comparing")
        return "done"

    assert guarded(slow, limits=Limits(seconds=1.5)) == "done"


def spend(seconds):
    end = time.process_time() + seconds
    while time.process_time() < end:
        pass


@pytest.mark.skipif(sys.platform != "linux", reason="the system does not say what a process uses")
def test_too_much_memory_is_an_error(guarded):
    with pytest.raises(UnsupportedModelError, match=r"needs more than 128 MiB of memory \(Limits.memory\)"):
        guarded(lambda _: len(bytearray(2**30)), limits=Limits(memory=2**27))


@pytest.mark.parametrize(("is_sparse", "times"), [(False, 4), (True, 0)])
def test_data_beside_the_model_counts_as_far_as_it_is_there(tmp_path, is_sparse, times):
    """onnxruntime maps it so that it counts as private memory; holes of a sparse file would allow anything."""
    resource = pytest.importorskip("resource")
    if private_memory() is None:
        pytest.skip("this system does not say how much memory is private")
    data, size = tmp_path / "m.data", 2**26
    if is_sparse:
        data.touch()
        os.truncate(data, size)
    else:
        data.write_bytes(b"1" * size)
        os.sync()  # what is not yet on the disk may have no blocks there
    tensor = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[size // 4], data_location=TensorProto.EXTERNAL)
    tensor.external_data.add(key="location", value=data.name)
    (tmp_path / "m.onnx").write_bytes(ModelProto(graph=GraphProto(initializer=[tensor])).SerializeToString())

    def limit_for(model):
        return run_guarded(
            lambda _: resource.getrlimit(resource.RLIMIT_DATA)[0], print, tmp_path / model, tmp_path, Limits()
        )

    assert round((limit_for("m.onnx") - limit_for("no.onnx")) / size) == times


def test_memory_within_the_limit_is_there(guarded):
    assert guarded(lambda _: len(bytearray(2**26)), limits=Limits(memory=2**28)) == 2**26


def test_nothing_that_libraries_print_is_seen(guarded, capfd):
    def noisy(_):
        print("python")
        print("python", file=sys.stderr)
        os.write(1, b"native")
        os.write(2, b"native")
        return "done"

    assert guarded(noisy) == "done"
    assert capfd.readouterr() == ("", "")


def can_confine():
    child = os.fork()
    if child == 0:
        os._exit(0 if confine([]) else 1)
    return os.waitpid(child, 0)[1] == 0


@pytest.mark.skipif(not can_confine(), reason="this system has no Landlock")
def test_cannot_write_elsewhere_run_programs_or_connect(guarded, tmp_path):
    def escape(_):
        failures = []
        for attempt in (
            lambda: (tmp_path / "evil").write_text("x"),
            lambda: (tmp_path / "folder").mkdir(),
            lambda: (tmp_path / "victim").unlink(),
            lambda: (tmp_path / "victim").write_text("x"),
            lambda: os.execv(sys.executable, [sys.executable, "-c", ""]),
            lambda: socket.create_connection(("127.0.0.1", 9), timeout=5),
        ):
            try:
                attempt()
            except PermissionError:
                failures.append(True)
            except OSError:
                failures.append(False)
        (tmp_path / "room" / "result").write_text("fine")
        return failures

    (tmp_path / "victim").write_text("v")
    allowed = guarded(escape)
    assert allowed[:5] == [True] * 5
    assert (tmp_path / "victim").read_text() == "v"
    assert not (tmp_path / "evil").exists()
    assert (tmp_path / "room" / "result").read_text() == "fine"


class Payload:
    def __init__(self, path):
        self._path = path

    def __reduce__(self):
        return os.mkdir, (str(self._path),)


def test_an_answer_that_would_run_code_is_none(guarded, tmp_path):
    marker = tmp_path / "marker"
    with pytest.raises(UnsupportedModelError, match="took over the process"):
        guarded(lambda _: Payload(marker))
    assert not marker.exists()


@pytest.mark.parametrize(
    ("module", "name"),
    [
        ("os", "system"),
        ("bnfold.errors", "traceback.os.system"),
        ("bnfold.label", "Protocol"),
        ("bnfold.report.model", "dataclass"),
        ("bnfold.guard.watch", "watch"),
    ],
)
def test_only_values_of_reports_are_unpickled(module, name):
    content = b"\x80\x04" + b"\x8c" + bytes([len(module)]) + module.encode() + b"\x8c" + bytes([len(name)])
    with pytest.raises(pickle.UnpicklingError):
        read_value(content + name.encode() + b"\x93.")


def test_values_of_reports_come_back():
    """On every version of Python: pickle's name of Path is not the same on all of them."""
    values = [Path("a"), PurePosixPath("a"), frozenset({1}), FileNotFoundError(2, "gone"), MemoryError(), b"", None]
    for value in values:
        again = read_value(pickle.dumps(value))
        assert (type(again), str(again)) == (type(value), str(value))


def test_messages_are_put_together_from_pieces():
    reading, writing = os.pipe()
    sender = Sender(writing)
    sender.step("one")
    sender.beat()
    sender.result({"a": 1})
    os.close(writing)
    receiver = Receiver()
    messages = [message for piece in iter(lambda: os.read(reading, 3), b"") for message in receiver.take(piece)]
    os.close(reading)
    assert [kind for kind, _ in messages] == [b"s", b"b", b"r"]
    assert read_value(messages[2][1]) == {"a": 1}
    with pytest.raises(ValueError, match="no message"):
        list(receiver.take(b"x" * 20))


def test_the_child_goes_with_its_parent(tmp_path):
    """Even if the parent is killed, and can clean up nothing."""
    program = f"""
import os, pathlib, time
from bnfold.guard import Limits, run_guarded
folder = pathlib.Path({str(tmp_path)!r})
def work(step):
    (folder / "pid.new").write_text(str(os.getpid()))
    (folder / "pid.new").rename(folder / "pid")
    time.sleep(600)
run_guarded(work, print, folder, folder, Limits())
"""
    parent = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.DEVNULL)
    while not (tmp_path / "pid").exists():
        time.sleep(0.05)
        assert parent.poll() is None
    child = int((tmp_path / "pid").read_text())
    parent.kill()
    parent.wait()
    for _ in range(200):
        if not is_running(child):
            return
        time.sleep(0.05)
    os.kill(child, signal.SIGKILL)
    raise AssertionError("the child lives on")


def is_running(pid):
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
