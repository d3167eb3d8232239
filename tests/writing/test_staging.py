"""A staging folder goes with its process, or with the next call; one in use is not touched."""

import contextlib
import gc
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from bnfold.errors import UsageError
from bnfold.writing import locks, staging
from bnfold.writing.destination import destination_of
from bnfold.writing.staging import staging_folder

STAY = """
import sys
from pathlib import Path
from bnfold.writing.destination import destination_of
from bnfold.writing.staging import staging_folder
with staging_folder(destination_of(Path(sys.argv[1]))) as folder:
    (folder / "half").write_text("written")
    print(folder, flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def target(tmp_path):
    return tmp_path / "m[1].onnx"


@pytest.fixture
def other_process(target):
    """A process that has a staging folder for the target; a pair of it and the folder."""
    process = subprocess.Popen(
        [sys.executable, "-c", STAY, str(target)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    yield process, Path(process.stdout.readline().strip())
    process.kill()
    process.communicate()


def stage(target):
    with staging_folder(destination_of(target)) as folder:
        return folder


def test_it_is_beside_the_target_and_private_and_goes(target):
    with staging_folder(destination_of(target)) as folder:
        assert folder.parent == target.parent
        assert folder.stat().st_mode & 0o077 == 0
    assert list(target.parent.iterdir()) == []


def test_it_goes_after_an_interrupt_as_well(target):
    def interrupted():
        with staging_folder(destination_of(target)):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert list(target.parent.iterdir()) == []


class Interruption(BaseException):
    pass


def interrupted(work, step):
    """Do some work and raise what a signal raises, once, at an instruction of what stages and removes; whether it
    came so far."""
    watched = {staging.__file__: True, locks.__file__: True, contextlib.__file__: False}
    steps = 0

    def trace(frame, event, _):
        nonlocal steps
        if frame.f_code.co_filename not in watched or steps > step:
            return None
        frame.f_trace_opcodes = watched[frame.f_code.co_filename]
        if event in ("line", "opcode"):
            steps += 1
            if steps > step:
                raise Interruption
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        work()
    except Interruption:
        return True
    finally:
        sys.settrace(before)
    return False


@pytest.mark.parametrize("name", ["m.onnx", "/dev/null"])
def test_a_signal_at_any_step_leaves_nothing(tmp_path, monkeypatch, name):
    """Before the folder is made, between its making and whatever comes next; and no lock stays, for which the next
    call of this process would wait."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    destination = destination_of(tmp_path / name)

    def work():
        with staging_folder(destination) as folder:
            (folder / "half").touch()

    for step in range(10_000):
        if not interrupted(work, step):
            break
        gc.collect(0)
        assert list(tmp_path.iterdir()) == [], step
    assert step > 100


def test_a_signal_in_the_middle_of_the_removal(target, monkeypatch):
    remove, calls = shutil.rmtree, []

    def stopped_once(folder, **options):
        calls.append(folder)
        if len(calls) == 1:
            raise Interruption
        remove(folder, **options)

    monkeypatch.setattr(shutil, "rmtree", stopped_once)
    with pytest.raises(Interruption):
        stage(target)
    assert list(target.parent.iterdir()) == []


def test_a_killed_process_is_cleaned_up_after(target, other_process):
    process, left = other_process
    process.kill()
    process.wait()
    assert left.is_dir()
    stage(target)
    assert list(target.parent.iterdir()) == []


def test_a_process_at_work_is_left_alone(target, other_process):
    _, used = other_process
    stage(target)
    assert (used / "half").read_text() == "written"


def test_folders_of_other_targets_and_of_other_people_stay(target):
    kept = [
        ".m[1].onnx.bnfold-short",
        ".m[1].onnx.bnfold-abcdefgh.bak",
        ".m1.onnx.bnfold-abcdefgh",
        ".m[1].onnx.abcdefgh",
    ]
    for name in kept:
        (target.parent / name).mkdir()
    (target.parent / ".m[1].onnx.bnfold-filefile").write_text("a file")
    (target.parent / ".m[1].onnx.bnfold-linklink").symlink_to(kept[0])
    before = sorted(target.parent.iterdir())
    stage(target)
    assert sorted(target.parent.iterdir()) == before


def test_a_name_as_long_as_file_systems_take(tmp_path):
    assert stage(tmp_path / ("é" * 125 + ".onnx")).parent == tmp_path


def test_a_stream_is_staged_elsewhere(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    assert stage(Path("/dev/null")).parent == tmp_path
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_is_not_there(tmp_path):
    with pytest.raises(UsageError, match=r"m.onnx cannot be written: No such file or directory"):
        stage(tmp_path / "no" / "m.onnx")


def test_a_file_system_without_locks(target, monkeypatch):
    """Nothing counts as left behind there: nobody can tell."""
    monkeypatch.setattr("bnfold.writing.locks.fcntl", None)
    left = target.parent / ".m[1].onnx.bnfold-abcdefgh"
    left.mkdir()
    stage(target)
    assert list(target.parent.iterdir()) == [left]
    shutil.rmtree(left)
