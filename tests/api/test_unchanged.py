"""A file that is changed while it is folded: what came of it is not written, and the error says why."""

import os

import onnx
import pytest

import bnfold
from bnfold.api.unchanged import unchanged
from bnfold.errors import ModelFormatError, VerificationError
from tests.networks import Network


@pytest.fixture(params=["inside", "beside"])
def files(request, tmp_path):
    """A model, and the file in which its weights lie."""
    network = Network(seed=1)
    network.batch_norm(network.node("Conv", ["x", network.weight("w", 16, 16, 3, 3)], "conv"), "y", 16)
    model = network.model({"x": ["batch", 16, 8, 8]}, ["y"])
    path = tmp_path / "m.onnx"
    beside = request.param == "beside"
    onnx.save(model, path, save_as_external_data=beside, location="m.data", size_threshold=1024)
    return path, path.with_name("m.data") if beside else path


def write_to(path):
    with path.open("r+b") as file:
        file.seek(-1, os.SEEK_END)
        file.write(b"?")


def replace(path):
    other = path.with_name("other")
    other.write_bytes(path.read_bytes())
    os.utime(other, ns=(0, path.stat().st_mtime_ns))
    os.replace(other, path)


@pytest.mark.parametrize("change", [write_to, replace, os.unlink])
def test_nothing_is_written(files, change):
    model, weights = files
    target = model.with_name("out.onnx")

    def progress(step):
        if step == "comparing":
            change(weights)

    before = set(model.parent.iterdir())
    with pytest.raises(ModelFormatError, match=rf"was changed while it was read \({weights.name}\), and nothing"):
        bnfold.fold_file(model, target, progress=progress)
    assert set(model.parent.iterdir()) <= before


def fail_on(model, wrong, weights=None):
    with unchanged(model):
        if weights is not None:
            write_to(weights)
        raise wrong


def test_what_the_work_says_of_it_is_no_news(files):
    model, weights = files
    wrong = VerificationError("the folded model does not equal the original")
    with pytest.raises(ModelFormatError, match="was changed") as caught:
        fail_on(model, wrong, weights)
    assert caught.value.__cause__ is wrong


def test_of_a_file_that_stays_it_is(files):
    wrong = VerificationError("the folded model does not equal the original")
    with pytest.raises(VerificationError) as caught:
        fail_on(files[0], wrong)
    assert caught.value is wrong


def test_a_fold_in_place_changes_its_own_input(files):
    model, _ = files
    assert bnfold.fold_file(model, model, in_place=True).batch_norms.folded == 1
