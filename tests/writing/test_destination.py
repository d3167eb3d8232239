"""What a path names: a file behind links, or a stream that must not be replaced."""

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from bnfold.errors import UsageError
from bnfold.writing.destination import STDOUT, destination_of
from tests.pipes import read_pipe


def test_a_new_file_and_an_old_one(tmp_path):
    (tmp_path / "old").touch()
    for name in ("old", "new"):
        found = destination_of(tmp_path / name)
        assert (found.path, found.is_stream) == (tmp_path.resolve() / name, False)


@pytest.mark.parametrize("there", [True, False])
def test_links_are_followed(tmp_path, there):
    (tmp_path / "sub").mkdir()
    if there:
        (tmp_path / "sub" / "file").touch()
    (tmp_path / "sub" / "second").symlink_to("file")
    (tmp_path / "first").symlink_to("sub/second")
    found = destination_of(tmp_path / "first")
    assert (found.given, found.path) == (tmp_path / "first", tmp_path.resolve() / "sub" / "file")


def test_links_in_circles(tmp_path):
    (tmp_path / "a").symlink_to("b")
    (tmp_path / "b").symlink_to("a")
    with pytest.raises(UsageError, match=r"a cannot be written: Too many levels of symbolic links"):
        destination_of(tmp_path / "a")


def test_a_folder_is_none(tmp_path):
    with pytest.raises(UsageError, match="cannot be written: it is a folder"):
        destination_of(tmp_path)


def test_a_device_is_written_through(tmp_path):
    (tmp_path / "link").symlink_to(os.devnull)
    for path in (Path(os.devnull), tmp_path / "link"):
        with destination_of(path).open_stream() as stream:
            stream.write(b"x")
    assert stat.S_ISCHR(os.stat(os.devnull).st_mode)


def test_a_pipe_is_written_through(tmp_path):
    with read_pipe(tmp_path / "pipe") as read, destination_of(tmp_path / "pipe").open_stream() as stream:
        stream.write(b"x")
    assert read == [b"x"]
    assert stat.S_ISFIFO((tmp_path / "pipe").stat().st_mode)


def test_a_disk_is_refused(tmp_path):
    try:
        os.mknod(tmp_path / "disk", 0o600 | stat.S_IFBLK, os.makedev(7, 250))
    except PermissionError:
        pytest.skip("only root makes devices")
    with pytest.raises(UsageError, match="it is a disk"):
        destination_of(tmp_path / "disk")


WRITE = """
import sys
from pathlib import Path
from bnfold.writing.destination import destination_of
print("before", flush=True)
with destination_of(Path(sys.argv[1])).open_stream() as stream:
    stream.write(b"result\\n")
print("after", flush=True)
"""


@pytest.mark.parametrize("name", [str(STDOUT), "/dev/fd/1", "/proc/self/fd/1", "link"])
@pytest.mark.parametrize("redirected", ["file", "pipe"])
def test_standard_output_by_all_its_names(tmp_path, name, redirected):
    """Also where it goes to a file: what was printed before stays, which a file opened anew would lose."""
    (tmp_path / "link").symlink_to("/proc/self/fd/1")
    command = [sys.executable, "-c", WRITE, name]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    if redirected == "file":
        with (tmp_path / "out").open("wb") as file:
            subprocess.run(command, cwd=tmp_path, stdout=file, check=True, timeout=300, env=environment)
        printed = (tmp_path / "out").read_bytes()
    else:
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, check=True, timeout=300, env=environment)
        printed = done.stdout
    assert printed == b"before\nresult\nafter\n"


def test_a_descriptor_that_is_not_open():
    with pytest.raises(UsageError, match="Bad file descriptor"):
        destination_of(Path("/dev/fd/987"))


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_stream_that_takes_nothing():
    def write():
        with destination_of(Path("/dev/full")).open_stream() as stream:
            stream.write(b"x")

    with pytest.raises(UsageError, match=r"/dev/full cannot be written: No space left on device"):
        write()
