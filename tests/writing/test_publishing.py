"""A model and its data are replaced together or not at all, wherever the process is stopped."""

import os
import stat

import pytest

from bnfold.errors import UsageError
from bnfold.writing.destination import destination_of
from bnfold.writing.publishing import publish_files
from bnfold.writing.staging import staging_folder
from tests.forked import in_fork
from tests.writing.interrupted import NEW, replace, replace_and_stop
from tests.writing.models import data_of, model_bytes, write_model

OLD = b"the old data, longer"
MOST_STEPS = 40


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def call(model, step=0, how="fail"):
    done = in_fork(lambda: replace_and_stop(model, step, how))
    done.stdout, done.stderr = done.stdout.decode(), done.stderr.decode()
    return done


def old_model(folder, data_name):
    return write_model(folder / "m.onnx", data_name, OLD)


def fresh_names(folder):
    return [name for name in names(folder) if name.startswith("m.onnx.") and name != "m.onnx.data"]


def test_the_data_has_the_usual_name_where_it_is_free(tmp_path):
    replace(tmp_path / "m.onnx")

    assert names(tmp_path) == ["m.onnx", "m.onnx.data"]
    assert data_of(tmp_path / "m.onnx") == NEW


def test_old_data_under_the_usual_name_is_not_written_to_and_goes_last(tmp_path):
    model = old_model(tmp_path, "m.onnx.data")
    replace(model)

    (data,) = fresh_names(tmp_path)
    assert names(tmp_path) == ["m.onnx", data]
    assert data_of(model) == NEW


def test_the_same_again_changes_nothing(tmp_path):
    model = old_model(tmp_path, "m.onnx.data")
    replace(model)
    once = {name: (tmp_path / name).read_bytes() for name in names(tmp_path)}
    replace(model)

    assert {name: (tmp_path / name).read_bytes() for name in names(tmp_path)} == once


def test_other_data_under_a_name_that_was_fresh_once(tmp_path):
    """Somebody wrote to the data file that bears the digest of what is to be written: it is not believed."""
    model = old_model(tmp_path, "m.onnx.data")
    replace(model)
    (data,) = fresh_names(tmp_path)
    write_model(model, data, OLD)
    (tmp_path / "m.onnx.data").write_bytes(b"not mine")
    replace(model)

    assert data_of(model) == NEW
    assert names(tmp_path) == ["m.onnx", data.replace(".data", "-2.data"), "m.onnx.data"]


@pytest.mark.parametrize("how", ["fail", "full", "kill"])
@pytest.mark.parametrize("data_name", ["m.onnx.data", "weights.bin"])
def test_stopped_at_every_step_the_model_finds_its_own_data(tmp_path, data_name, how):
    """And the next call leaves nothing behind of the one that was stopped."""
    (tmp_path / "0").mkdir()
    steps = int(call(old_model(tmp_path / "0", data_name)).stdout)
    assert 5 < steps < MOST_STEPS
    left = names(tmp_path / "0")
    states = set()
    for step in range(1, steps + 1):
        folder = tmp_path / str(step)
        folder.mkdir()
        model = old_model(folder, data_name)
        done = call(model, step, how)
        assert done.returncode == {"kill": -9}.get(how, done.returncode), step
        states.add(data_of(model))
        if done.returncode == 2:
            assert (data_of(model), names(folder)) == (OLD, sorted(["m.onnx", data_name])), step
        assert call(model).returncode == 0
        assert data_of(model) == NEW
        hidden_or_data = set(names(folder)) - {data_name}
        assert len(hidden_or_data) <= 2, step
        assert how != "kill" or data_name == "weights.bin" or len(names(folder)) == 2, step
        assert data_name != "weights.bin" or set(left) <= {*names(folder), "m.onnx.data"}
    assert states == {OLD, NEW}


@pytest.mark.parametrize(("step", "left"), [("link", OLD), ("replace", NEW)])
def test_a_signal_between_a_step_and_the_next_line(tmp_path, monkeypatch, step, left):
    """The call ends in an exception; data of a model that is in place stays all the same, other data goes."""
    model = old_model(tmp_path, "m.onnx.data")
    taken = getattr(os, step)

    def interrupt(*arguments):
        taken(*arguments)
        raise KeyboardInterrupt

    monkeypatch.setattr(os, step, interrupt)
    with pytest.raises(KeyboardInterrupt):
        replace(model)

    assert data_of(model) == left
    assert len(fresh_names(tmp_path)) == (left == NEW)
    assert ("m.onnx.data" in names(tmp_path)) == (left == OLD)


def test_a_failure_leaves_data_that_was_there_with_the_same_content(tmp_path, monkeypatch):
    replace(tmp_path / "m.onnx")
    (tmp_path / "m.onnx").write_bytes(model_bytes("m.onnx.data", NEW) + b"older")
    before = {name: (tmp_path / name).read_bytes() for name in names(tmp_path)}

    def fail(*_):
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(UsageError):
        replace(tmp_path / "m.onnx")

    assert {name: (tmp_path / name).read_bytes() for name in names(tmp_path)} == before


def test_data_that_somebody_wrote_meanwhile_is_not_overwritten(tmp_path):
    destination = destination_of(tmp_path / "m.onnx")
    with staging_folder(destination) as folder:
        for name, content in (("m.onnx.data", NEW), ("m.onnx", model_bytes("m.onnx.data", NEW))):
            (folder / name).write_bytes(content)
        write_model(tmp_path / "m.onnx", "m.onnx.data", OLD)
        with pytest.raises(UsageError, match=r"m.onnx.data was written by somebody else meanwhile"):
            publish_files([folder / "m.onnx.data", folder / "m.onnx"], destination)

    assert data_of(tmp_path / "m.onnx") == OLD


def test_a_file_system_without_hard_links(tmp_path, monkeypatch):
    def refuse(*_):
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", refuse)
    model = old_model(tmp_path, "m.onnx.data")
    replace(model)

    assert data_of(model) == NEW
    assert len(names(tmp_path)) == 2


def test_a_folder_that_cannot_be_opened(tmp_path, monkeypatch):
    """To write into a folder takes no right to read it; some systems open none."""
    open_file = os.open

    def refuse(path, flags, *arguments, **options):
        if os.path.isdir(path) and ".bnfold-" not in str(path):
            raise PermissionError(13, "Permission denied")
        return open_file(path, flags, *arguments, **options)

    model = old_model(tmp_path, "m.onnx.data")
    monkeypatch.setattr(os, "open", refuse)
    replace(model)
    monkeypatch.undo()

    assert data_of(model) == NEW
    assert len(names(tmp_path)) == 2


@pytest.mark.parametrize("reader", ["copy.onnx", "backup of it"])
def test_old_data_that_another_model_reads_stays(tmp_path, reader):
    model = old_model(tmp_path, "m.onnx.data")
    (tmp_path / reader).write_bytes(model.read_bytes())
    done = call(model)

    assert data_of(model) == NEW
    assert data_of(tmp_path / reader) == OLD
    assert f"m.onnx.data held data of the model that was replaced, and stays: {reader} reads it too" in done.stderr


@pytest.mark.parametrize("name", ["weights.bin", "n.onnx.data", "m.onnx.data.bin", "m.onnx.0123456789abcdef.txt"])
def test_old_data_under_another_name_stays_and_is_told_of(tmp_path, name):
    model = old_model(tmp_path, name)
    done = call(model)

    assert (tmp_path / name).read_bytes() == OLD
    assert f"{name} held data of the model that was replaced, and stays: the new model does not read it" in done.stderr


def test_data_that_nobody_names_and_nobody_else_writes_goes(tmp_path):
    """A killed call leaves new data without its model. Files of other models with a name of that kind stay."""
    model = old_model(tmp_path, "m.onnx.data")
    others = ["n.onnx.0123456789abcdef.data", "m.onnx.0123456789abcde.data", "m.onnx.fedcba9876543210.data.txt"]
    for name in ["m.onnx.0123456789abcdef.data", *others]:
        (tmp_path / name).write_bytes(b"left")
    replace(model)

    assert "m.onnx.0123456789abcdef.data" not in names(tmp_path)
    assert set(others) <= set(names(tmp_path))


def test_old_data_that_cannot_be_removed_is_told_of(tmp_path, monkeypatch, capsys):
    model = old_model(tmp_path, "m.onnx.data")
    unlink = os.unlink

    def refuse(path, *arguments, **options):
        if str(path).endswith("m.onnx.data"):
            raise PermissionError(1, "Operation not permitted")
        unlink(path, *arguments, **options)

    monkeypatch.setattr(os, "unlink", refuse)
    replace(model)

    assert data_of(model) == NEW
    assert "stays: it cannot be removed: Operation not permitted" in capsys.readouterr().err


def test_what_replaces_keeps_the_mode_of_what_it_replaces(tmp_path):
    model = old_model(tmp_path, "m.onnx.data")
    model.chmod(0o640)
    (tmp_path / "m.onnx.data").chmod(0o604)
    os.utime(model, (1, 1))
    replace(model)

    (data,) = fresh_names(tmp_path)
    assert stat.S_IMODE(model.stat().st_mode) == 0o640
    assert stat.S_IMODE((tmp_path / data).stat().st_mode) == 0o604
    assert model.stat().st_mtime > 1


def test_new_data_is_as_private_as_the_model_was(tmp_path):
    (tmp_path / "m.onnx").write_bytes(b"all inside")
    (tmp_path / "m.onnx").chmod(0o600)
    replace(tmp_path / "m.onnx")

    assert stat.S_IMODE((tmp_path / "m.onnx.data").stat().st_mode) == 0o600


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root may give files away")
def test_what_replaces_keeps_the_owner_of_what_it_replaces(tmp_path):
    model = old_model(tmp_path, "m.onnx.data")
    os.chown(model, 1234, 4321)
    replace(model)

    assert (model.stat().st_uid, model.stat().st_gid) == (1234, 4321)


def test_an_owner_that_cannot_be_kept_is_told_of(tmp_path, monkeypatch, capsys):
    def refuse(*_):
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "chown", refuse)
    model = old_model(tmp_path, "m.onnx.data")
    model.chmod(0o640)
    replace(model)

    assert stat.S_IMODE(model.stat().st_mode) == 0o640
    assert "m.onnx belonged to another user or group" in capsys.readouterr().err
