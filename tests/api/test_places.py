"""What the process that read a model says it wrote is looked at before anything is moved."""

import pytest

from bnfold.api.places import Staged, publish
from bnfold.errors import UnsupportedModelError
from bnfold.writing.destination import destination_of
from tests.api.folders import snapshot
from tests.reports import report

FILES = {
    "none": [],
    "another name": ["stage/other.onnx"],
    "data of another model": ["stage/n.onnx.data", "stage/m.onnx"],
    "a file of somebody else": ["m.onnx"],
    "a way out": ["stage/../m.onnx"],
    "a link": ["stage/link/m.onnx"],
    "something missing": ["stage/m.onnx.data", "stage/m.onnx"],
}


@pytest.mark.parametrize("kind", FILES)
def test_only_files_of_the_staging_folder_are_moved(tmp_path, kind):
    stage = tmp_path / "stage"
    (stage / "link").mkdir(parents=True)
    (tmp_path / "m.onnx").write_text("somebody else's")
    (stage / "link" / "m.onnx").symlink_to(tmp_path / "m.onnx")
    for name in ("m.onnx", "other.onnx", "n.onnx.data"):
        (stage / name).write_text("staged")
    before = snapshot(tmp_path)
    files = tuple(tmp_path / name for name in FILES[kind])
    folder = stage / "link" if kind == "a link" else stage
    with pytest.raises(UnsupportedModelError, match="took over the process that read it"):
        publish(Staged(report(), files), folder, destination_of(tmp_path / "new" / "m.onnx"))
    assert snapshot(tmp_path) == before


def test_a_result_and_its_data_are(tmp_path):
    stage = tmp_path / "stage"
    stage.mkdir()
    for name in ("m.onnx.data", "m.onnx"):
        (stage / name).write_text(name)
    publish(Staged(report(), (stage / "m.onnx.data", stage / "m.onnx")), stage, destination_of(tmp_path / "m.onnx"))
    assert (tmp_path / "m.onnx").read_text() == "m.onnx"
    assert (tmp_path / "m.onnx.data").read_text() == "m.onnx.data"
