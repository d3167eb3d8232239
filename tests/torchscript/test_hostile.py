"""Files of strangers: what is no TorchScript is refused, and nothing in it is executed."""

import io
import pickle
import zipfile
from pathlib import Path

import pytest

torch = pytest.importorskip("torch", reason="torch is not installed: pip install '.[torch]'")
from torch import nn  # noqa: E402

from bnfold.errors import ModelFormatError, UnsupportedModelError  # noqa: E402
from bnfold.frontends.torchscript.file import open_script, save_script  # noqa: E402
from tests.torchscript import hostile  # noqa: E402
from tests.torchscript.folding import compiled, deprecations_silenced  # noqa: E402


class Bomb:
    """Leaves a mark when it is unpickled."""

    def __init__(self, mark: Path):
        self.mark = str(mark)

    def __reduce__(self):
        return Path.touch, (Path(self.mark),)


@pytest.fixture
def mark(tmp_path):
    return tmp_path / "executed"


@pytest.fixture
def good(tmp_path):
    path = tmp_path / "good.pt"
    save_script(compiled(nn.Linear(2, 2), "scripted"), path)
    return path


def rewritten(path, target, change):
    """A copy of an archive with other entries."""
    with zipfile.ZipFile(path) as source:
        entries = [(entry.filename, source.read(entry)) for entry in source.infolist()]
    with zipfile.ZipFile(target, "w") as archive:
        for name, data in change(entries):
            archive.writestr(name, data)
    return target


def test_the_bomb_would_go_off(mark):
    pickle.loads(pickle.dumps(Bomb(mark)))
    assert mark.exists()


@pytest.mark.parametrize("protocol", [0, 2, 4])
def test_a_bare_pickle(tmp_path, mark, protocol):
    path = tmp_path / "model.pt"
    path.write_bytes(pickle.dumps(Bomb(mark), protocol))
    with pytest.raises(ModelFormatError, match="damaged zip"):
        open_script(path)
    assert not mark.exists()


@pytest.mark.parametrize("legacy", [False, True])
@pytest.mark.parametrize("content", [{"w": torch.ones(2)}, nn.Linear(2, 2)])
def test_files_of_torch_save(tmp_path, mark, content, legacy):
    path = tmp_path / "model.pt"
    torch.save([content, Bomb(mark)], path, _use_new_zipfile_serialization=not legacy)
    with pytest.raises(ModelFormatError, match="torch.save" if not legacy else "damaged zip"):
        open_script(path)
    assert not mark.exists()


@pytest.mark.parametrize("pickled", ["data.pkl", "constants.pkl"])
def test_a_bomb_inside_a_torchscript_archive(tmp_path, good, mark, pickled):
    bomb = pickle.dumps(Bomb(mark), 2)
    path = rewritten(
        good,
        tmp_path / "bad.pt",
        lambda entries: [(name, bomb if name.endswith(f"/{pickled}") else data) for name, data in entries],
    )
    with pytest.raises(UnsupportedModelError, match="nothing in it was executed"):
        open_script(path)
    assert not mark.exists()


@pytest.mark.parametrize("part", [0.01, 0.5, 0.99])
def test_truncated(tmp_path, good, part):
    data = good.read_bytes()
    path = tmp_path / "short.pt"
    path.write_bytes(data[: int(part * len(data))])
    with pytest.raises(ModelFormatError):
        open_script(path)


def test_damaged_inside(tmp_path, good):
    path = rewritten(
        good,
        tmp_path / "bad.pt",
        lambda entries: [(name, b"def" if name.endswith(".py") else data) for name, data in entries],
    )
    with pytest.raises(ModelFormatError, match="cannot load it"):
        open_script(path)


@pytest.mark.parametrize("name", ["../evil", "/evil", "good/../../evil", "good\\evil", "good/ev\nil", "other/evil"])
def test_odd_names(tmp_path, good, name):
    path = rewritten(good, tmp_path / "bad.pt", lambda entries: [*entries, (name, b"")])
    with pytest.raises(ModelFormatError, match="is not a file that torch"):
        open_script(path)


def test_one_name_twice(tmp_path, good):
    with pytest.warns(UserWarning, match="Duplicate name"):
        path = rewritten(good, tmp_path / "bad.pt", lambda entries: [*entries, entries[0]])
    with pytest.raises(ModelFormatError, match="twice"):
        open_script(path)


def test_an_unrelated_zip_and_a_missing_file(tmp_path):
    path = tmp_path / "model.pt"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("hello.txt", "hello")
    with pytest.raises(ModelFormatError, match="a zip of something else"):
        open_script(path)
    with pytest.raises(ModelFormatError, match="cannot be read"):
        open_script(tmp_path / "absent.pt")


@pytest.mark.parametrize(
    "module", [hostile.Saves(), hostile.Maps(), hostile.SavesInSubmodule(), hostile.SavesElsewhere()]
)
def test_code_that_writes_files_is_refused_before_it_runs(tmp_path, module):
    path = tmp_path / "model.pt"
    save_script(compiled(module, "scripted"), path)
    with pytest.raises(UnsupportedModelError, match="reaches files"):
        open_script(path)


def test_code_that_runs_on_loading_and_writes_files_is_refused_before_it_is_loaded(tmp_path):
    target = Path(hostile.ON_LOADING)
    target.unlink(missing_ok=True)
    buffer = io.BytesIO()
    with deprecations_silenced():
        torch.jit.save(torch.jit.script(hostile.SavesOnLoading()), buffer)
    path = tmp_path / "model.pt"
    path.write_bytes(buffer.getvalue())
    target.unlink(missing_ok=True)
    with pytest.raises(UnsupportedModelError, match="could run on loading"):
        open_script(path)
    assert not target.exists()
