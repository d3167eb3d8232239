"""A program in which nothing folds is copied as it is, byte for byte, and nothing is run to compare it with itself."""

import pytest

torch = pytest.importorskip("torch", reason="torch is not installed: pip install '.[torch]'")
from torch import nn  # noqa: E402

from bnfold.api import FoldOptions, fold_file  # noqa: E402
from bnfold.errors import UsageError  # noqa: E402
from bnfold.verifier import VerifyOptions  # noqa: E402
from tests.torchscript.folding import compiled  # noqa: E402


@pytest.fixture(params=["exported", "scripted"])
def written(request, tmp_path):
    module = nn.Sequential(nn.Linear(3, 4), nn.ReLU()).eval()
    path = tmp_path / ("m.pt2" if request.param == "exported" else "m.pt")
    if request.param == "exported":
        torch.export.save(torch.export.export(module, (torch.zeros(2, 3),)), path)
    else:
        compiled(module, "scripted").save(path)
    return path


def options(written, **given):
    shapes = {} if written.suffix == ".pt2" else {"input": (2, 3)}
    return FoldOptions(verify=VerifyOptions(shapes=shapes | given))


def test_the_bytes_are_those_of_the_file(written, tmp_path):
    target = tmp_path / f"out{written.suffix}"
    report = fold_file(written, target, options(written))
    assert target.read_bytes() == written.read_bytes()
    assert report.verification.identical
    assert report.verification.passed


def test_options_that_do_not_fit_are_still_told(written, tmp_path):
    with pytest.raises(UsageError, match="no input 'nobody'"):
        fold_file(written, tmp_path / f"out{written.suffix}", options(written, nobody=(1, 2)))
