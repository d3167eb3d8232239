"""bnfold.fold_file: what is written, where, and that a run that fails leaves nothing behind."""

import os
import stat
from pathlib import Path

import onnx
import pytest

import bnfold
from bnfold.errors import BnfoldError, InternalError, UsageError, VerificationError
from bnfold.verification import SKIPPED
from bnfold.verifier import VerifyOptions
from tests.api.folders import externalize, save, snapshot
from tests.folding import assert_equal_outputs, count
from tests.networks import Network
from tests.pipes import read_pipe

OPTIONS = bnfold.FoldOptions(verify=VerifyOptions(samples=1))
REJECTING = bnfold.FoldOptions(verify=VerifyOptions(samples=1, rtol=0.0, atol=0.0))


@pytest.fixture
def source(model, tmp_path):
    return save(model, tmp_path / "model.onnx")


def test_a_new_file_beside_the_old_one(model, source, tmp_path):
    before = snapshot(tmp_path)
    target = tmp_path / "small.onnx"
    report = bnfold.fold_file(source, target, OPTIONS)
    after = snapshot(tmp_path)
    assert after.keys() == {"model.onnx", "small.onnx"}
    assert after["model.onnx"] == before["model.onnx"]
    folded = onnx.load(target)
    assert count(folded, "BatchNormalization") == 1
    assert_equal_outputs(model, folded)
    assert (report.input, report.output) == (str(source), str(target))
    assert report.bytes.before == len(before["model.onnx"])
    assert report.bytes.after == len(after["small.onnx"])


def test_the_same_input_gives_the_same_bytes(source, tmp_path):
    for name in ("a.onnx", "b.onnx"):
        bnfold.fold_file(source, tmp_path / name, OPTIONS)
    files = snapshot(tmp_path)
    assert files["a.onnx"] == files["b.onnx"]


def test_folding_the_result_changes_no_byte(source, tmp_path):
    bnfold.fold_file(source, tmp_path / "once.onnx", OPTIONS)
    bnfold.fold_file(tmp_path / "once.onnx", tmp_path / "twice.onnx", OPTIONS)
    files = snapshot(tmp_path)
    assert files["once.onnx"] == files["twice.onnx"]


def test_planning_only_writes_nothing(source, tmp_path):
    before = snapshot(tmp_path)
    report = bnfold.fold_file(source, None, OPTIONS)
    assert snapshot(tmp_path) == before
    assert report.output is None
    assert report.batch_norms.folded == 1
    assert report.verification.status == "skipped"


def test_a_target_that_exists_is_replaced(source, tmp_path):
    target = tmp_path / "small.onnx"
    target.write_text("an older result")
    bnfold.fold_file(source, target, OPTIONS)
    assert count(onnx.load(target), "BatchNormalization") == 1


@pytest.mark.parametrize("spelling", ["same", "dotted", "hard link", "symbolic link"])
def test_the_source_is_no_target(source, tmp_path, spelling):
    target = {"same": source, "dotted": tmp_path / "sub" / ".." / "model.onnx"}.get(spelling, tmp_path / "link.onnx")
    (tmp_path / "sub").mkdir()
    if spelling == "hard link":
        os.link(source, target)
    if spelling == "symbolic link":
        target.symlink_to(source)
    before = snapshot(tmp_path)
    with pytest.raises(UsageError, match="would be overwritten"):
        bnfold.fold_file(source, target, OPTIONS)
    assert snapshot(tmp_path) == before


def test_in_place(model, source, tmp_path):
    report = bnfold.fold_file(source, source, OPTIONS, in_place=True)
    assert snapshot(tmp_path).keys() == {"model.onnx"}
    assert report.verification.passed
    assert_equal_outputs(model, onnx.load(source))
    assert count(onnx.load(source), "BatchNormalization") == 1


def test_in_place_with_assumed_inference(network, tmp_path):
    """The check compares with the model as assumed, which lies nowhere on disk."""
    network.nodes[1].attribute.append(onnx.helper.make_attribute("training_mode", 1))
    network.nodes[1].output.extend(["mean_out", "var_out"])
    source = save(network.model({"x": [2, 3, 8, 8]}, ["y"]), tmp_path / "model.onnx")
    options = bnfold.FoldOptions(assume_inference=True, verify=VerifyOptions(samples=1))
    report = bnfold.fold_file(source, source, options, in_place=True)
    assert report.verification.passed
    assert snapshot(tmp_path).keys() == {"model.onnx"}


@pytest.mark.parametrize("name", ["model.onnx", "reference.onnx", "model.onnx.reference", "unnamed.data"])
def test_the_model_as_assumed_is_another_file_than_the_result(network, tmp_path, monkeypatch, name):
    """Whatever they are called: else the result would be compared with itself."""
    network.nodes[1].attribute.append(onnx.helper.make_attribute("training_mode", 1))
    network.nodes[1].output.extend(["mean_out", "var_out"])
    source = save(network.model({"x": [2, 3, 8, 8]}, ["y"]), tmp_path / name)
    compared = []

    def note(reference, folded, *_):
        compared.append([count(onnx.load(path), "BatchNormalization") for path in (reference, folded)])
        return SKIPPED

    monkeypatch.setattr("bnfold.verifier.check", note)
    bnfold.fold_file(source, source, bnfold.FoldOptions(assume_inference=True), in_place=True)
    ((before, after),) = compared
    assert before == after + 1


@pytest.mark.parametrize("in_place", [False, True])
def test_a_check_that_fails_leaves_everything_as_it_was(source, tmp_path, in_place):
    before = snapshot(tmp_path)
    with pytest.raises(VerificationError) as caught:
        bnfold.fold_file(source, source if in_place else tmp_path / "new.onnx", REJECTING, in_place=in_place)
    assert snapshot(tmp_path) == before
    assert caught.value.report.output is None


def test_a_crash_leaves_everything_as_it_was(source, tmp_path, monkeypatch):
    def crash(*_args, **_options):
        raise InternalError("the check fell over")

    monkeypatch.setattr("bnfold.verifier.check", crash)
    before = snapshot(tmp_path)
    with pytest.raises(InternalError):
        bnfold.fold_file(source, tmp_path / "new.onnx", OPTIONS)
    assert snapshot(tmp_path) == before


@pytest.mark.parametrize("parent", ["missing", "a file"])
def test_a_folder_that_does_not_take_files(source, tmp_path, parent):
    (tmp_path / "a file").write_text("no folder")
    before = snapshot(tmp_path)
    with pytest.raises(UsageError, match="cannot be written") as caught:
        bnfold.fold_file(source, tmp_path / parent / "new.onnx", OPTIONS)
    assert "\n" not in str(caught.value)
    assert snapshot(tmp_path) == before


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_without_permission_to_write(source, tmp_path):
    locked = tmp_path / "locked"
    locked.mkdir(mode=0o500)
    with pytest.raises(UsageError, match="cannot be written"):
        bnfold.fold_file(source, locked / "new.onnx", OPTIONS)
    assert not any(locked.iterdir())


@pytest.mark.parametrize("external", [False, True])
def test_a_target_that_is_a_folder(model, tmp_path, external):
    """Nothing is published: neither the model nor, before it, its data file."""
    folder = tmp_path / "models"
    folder.mkdir()
    source = save(externalize(model, folder) if external else model, folder / "model.onnx")
    target = tmp_path / "small.onnx"
    target.mkdir()
    before = snapshot(tmp_path)
    with pytest.raises(UsageError):
        bnfold.fold_file(source, target, OPTIONS)
    assert snapshot(tmp_path) == before


def test_a_disk_that_is_full(source, tmp_path, monkeypatch):
    """A write that fails in the middle is an error that names the target, not a traceback, and leaves no litter."""

    def full(_descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    before = snapshot(tmp_path)
    with pytest.raises(BnfoldError, match="No space left on device"):
        bnfold.fold_file(source, tmp_path / "new.onnx", OPTIONS)
    assert snapshot(tmp_path) == before


def test_a_relative_path(model, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    save(model, tmp_path / "model.onnx")
    bnfold.fold_file(Path("model.onnx"), Path("small.onnx"), OPTIONS)
    assert snapshot(tmp_path).keys() == {"model.onnx", "small.onnx"}


def test_nothing_to_fold_is_written_all_the_same(tmp_path):
    """The bytes of the model stay the bytes of the model."""
    network = Network()
    network.node("Relu", ["x"], "y")
    source = save(network.model({"x": [2, 3]}, ["y"]), tmp_path / "model.onnx")
    bnfold.fold_file(source, tmp_path / "same.onnx", OPTIONS)
    files = snapshot(tmp_path)
    assert files["same.onnx"] == files["model.onnx"]


@pytest.mark.parametrize("there", [True, False])
def test_a_link_is_followed(model, source, tmp_path, there):
    (tmp_path / "sub").mkdir()
    if there:
        (tmp_path / "sub" / "real.onnx").write_text("an older result")
        (tmp_path / "sub" / "real.onnx").chmod(0o640)
    (tmp_path / "link.onnx").symlink_to("sub/real.onnx")
    report = bnfold.fold_file(source, tmp_path / "link.onnx", OPTIONS)
    assert report.output == str(tmp_path / "link.onnx")
    assert (tmp_path / "link.onnx").readlink() == Path("sub/real.onnx")
    assert_equal_outputs(model, onnx.load(tmp_path / "sub" / "real.onnx"))
    assert not there or stat.S_IMODE((tmp_path / "sub" / "real.onnx").stat().st_mode) == 0o640


def test_a_device_stays_one(source, tmp_path):
    before = os.stat(os.devnull)
    report = bnfold.fold_file(source, Path(os.devnull), OPTIONS)
    assert report.output == os.devnull
    assert stat.S_ISCHR(os.stat(os.devnull).st_mode)
    assert os.stat(os.devnull).st_ino == before.st_ino
    assert snapshot(tmp_path).keys() == {"model.onnx"}


def test_a_pipe_carries_the_result(model, source, tmp_path):
    with read_pipe(tmp_path / "pipe") as read:
        bnfold.fold_file(source, tmp_path / "pipe", OPTIONS)
    assert_equal_outputs(model, onnx.load_from_string(read[0]))
    assert stat.S_ISFIFO((tmp_path / "pipe").stat().st_mode)


def test_a_pipe_gets_nothing_of_a_fold_that_fails(source, tmp_path):
    """Nobody reads: to open the pipe would wait for ever."""
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(VerificationError):
        bnfold.fold_file(source, tmp_path / "pipe", REJECTING)
