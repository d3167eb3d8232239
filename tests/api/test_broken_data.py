"""Data files that are missing, short, or somewhere where a model has no business: refused, and nothing written."""

from pathlib import Path

import numpy as np
import pytest
from onnx import numpy_helper

import bnfold
from bnfold.errors import ModelFormatError
from tests.api.folders import externalize, point_to, save, snapshot

OPTIONS = bnfold.FoldOptions(verify=None)


def missing(given: Path, _tensor) -> None:
    (given / "weights.bin").unlink()


def truncated(given: Path, _tensor) -> None:
    data = (given / "weights.bin").read_bytes()
    (given / "weights.bin").write_bytes(data[:-5])


def empty(given: Path, _tensor) -> None:
    (given / "weights.bin").write_bytes(b"")


def a_folder(given: Path, _tensor) -> None:
    (given / "weights.bin").unlink()
    (given / "weights.bin").mkdir()


def above(given: Path, tensor) -> None:
    (given.parent / "stolen.bin").write_bytes((given / "weights.bin").read_bytes())
    point_to(tensor, "../stolen.bin", 0, 9216)


def above_by_a_detour(given: Path, tensor) -> None:
    (given.parent / "stolen.bin").write_bytes((given / "weights.bin").read_bytes())
    (given / "sub").mkdir()
    point_to(tensor, "sub/../../stolen.bin", 0, 9216)


def absolute(given: Path, tensor) -> None:
    point_to(tensor, str(given / "weights.bin"), 0, 9216)


def elsewhere(given: Path, tensor) -> None:
    (given.parent / "stolen.bin").write_bytes((given / "weights.bin").read_bytes())
    point_to(tensor, str(given.parent / "stolen.bin"), 0, 9216)


def no_location(_given: Path, tensor) -> None:
    point_to(tensor, "", 0, 9216)


def negative_offset(_given: Path, tensor) -> None:
    point_to(tensor, "weights.bin", -4, 9216)


def offset_that_is_no_number(_given: Path, tensor) -> None:
    tensor.external_data[1].value = "four"


def length_short_of_the_shape(_given: Path, tensor) -> None:
    tensor.external_data[2].value = "9212"


DAMAGES = [
    missing,
    truncated,
    empty,
    a_folder,
    above,
    above_by_a_detour,
    absolute,
    elsewhere,
    no_location,
    negative_offset,
    offset_that_is_no_number,
    length_short_of_the_shape,
]


@pytest.mark.parametrize("damage", DAMAGES, ids=lambda damage: damage.__name__)
@pytest.mark.parametrize("call", ["fold_file", "fold"])
def test_data_that_cannot_be_read(two_convs, folders, damage, call):
    given, out = folders
    moved = externalize(two_convs, given)
    damage(given, moved.graph.initializer[0])
    source = save(moved, given / "model.onnx")
    before = snapshot(given)
    with pytest.raises(ModelFormatError) as caught:
        bnfold.fold_file(source, out / "small.onnx", OPTIONS) if call == "fold_file" else bnfold.fold(source)
    assert "\n" not in str(caught.value)
    assert any(repr(tensor.name) in str(caught.value) for tensor in moved.graph.initializer)
    assert snapshot(given) == before
    assert snapshot(out) == {}


@pytest.mark.parametrize("lost", [1, 4, 4000])
def test_truncated_data_that_no_fold_reads(two_convs, folders, lost):
    """The new data file would be short without a word."""
    given, out = folders
    two_convs.graph.initializer.append(numpy_helper.from_array(np.ones(1000, np.float32), "table"))
    source = save(externalize(two_convs, given), given / "model.onnx")
    data = (given / "weights.bin").read_bytes()
    (given / "weights.bin").write_bytes(data[:-lost])
    with pytest.raises(ModelFormatError, match=f"'table' needs bytes .* which has {len(data) - lost}"):
        bnfold.fold_file(source, out / "small.onnx", OPTIONS)
    assert snapshot(out) == {}


def test_a_model_in_memory_without_its_data(two_convs, folders):
    moved = externalize(two_convs, folders[0])
    with pytest.raises(ModelFormatError, match="give the path"):
        bnfold.fold(moved)
