"""What a file holds beside its program comes out again: extra files, and bytecode for phones."""

import warnings

import pytest

torch = pytest.importorskip("torch", reason="torch is not installed: pip install 'bnfold[torch]'")
from torch import nn  # noqa: E402
from torch.jit.mobile import _load_for_lite_interpreter  # noqa: E402

from bnfold.api import FoldOptions, fold_file  # noqa: E402
from bnfold.verification import VerifyOptions  # noqa: E402
from tests.comparing import assert_equal_results  # noqa: E402
from tests.torch_export.folding import export  # noqa: E402
from tests.torch_modules import randomised  # noqa: E402
from tests.torchscript.folding import compiled, deprecations_silenced  # noqa: E402

IMAGE = torch.randn(2, 3, 6, 6)
EXTRA = {"labels.txt": b"cat\ndog\n", "deep/model.bin": bytes(range(256))}


def network():
    torch.manual_seed(0)
    return randomised(nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU()))


def fold(path):
    target = path.with_name(f"folded{path.suffix}")
    shapes = {"input": (2, 3, 6, 6)}
    report = fold_file(path, target, FoldOptions(verify=VerifyOptions(samples=1, shapes=shapes)))
    assert report.batch_norms.folded == 1
    return target


def test_extra_files_of_torchscript(tmp_path):
    path = tmp_path / "model.pt"
    with deprecations_silenced():
        torch.jit.save(compiled(network(), "scripted"), path, _extra_files=EXTRA)
        found = dict.fromkeys(EXTRA, "")
        torch.jit.load(fold(path), _extra_files=found)
    assert found == EXTRA


def test_extra_files_of_torch_export(tmp_path):
    path = tmp_path / "model.pt2"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.export.save(export(network(), IMAGE), path, extra_files={"labels.txt": "cat\ndog\n"})
        found = {"labels.txt": ""}
        torch.export.load(fold(path), extra_files=found)
    assert found == {"labels.txt": "cat\ndog\n"}


def test_a_file_for_phones_stays_one(tmp_path):
    path = tmp_path / "model.ptl"
    module = compiled(network(), "scripted")
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Lite Interpreter is deprecated")
        module._save_for_lite_interpreter(str(path))
    folded = fold(path)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Lite Interpreter is deprecated")
        new = _load_for_lite_interpreter(str(folded))
    with torch.no_grad():
        assert_equal_results(module(IMAGE), new(IMAGE))
