"""Programs whose weights one ONNX model cannot hold: said in one line, and no reason to fail. With a lowered limit."""

import pytest

torch = pytest.importorskip("torch", reason="torch is not installed: pip install '.[torch]'")
from torch import nn  # noqa: E402

import bnfold  # noqa: E402
from bnfold.errors import UnsupportedModelError  # noqa: E402
from tests.torch_export.folding import export  # noqa: E402


@pytest.fixture
def program():
    return export(nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)).eval(), torch.randn(2, 3, 8, 8))


def test_onnx_is_not_written(program, monkeypatch):
    monkeypatch.setattr("bnfold.intake.message.LARGEST_MESSAGE", 100)
    with pytest.raises(UnsupportedModelError, match="to='onnx' writes them into one file of at most 2 GiB"):
        bnfold.fold(program, to="onnx")


def test_the_check_does_without_onnx(program, monkeypatch):
    monkeypatch.setattr("bnfold.intake.message.LARGEST_MESSAGE", 100)
    verdict = bnfold.fold(program).report.verification
    assert verdict.passed
    assert any("more than the 2 GiB of one ONNX model" in warning for warning in verdict.warnings)
