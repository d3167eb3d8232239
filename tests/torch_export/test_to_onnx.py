"""Exported programs written as ONNX: what is written can be read and run, or nothing is written."""

import pytest

torch = pytest.importorskip("torch", reason="torch is not installed")

import onnx  # noqa: E402
import onnxruntime  # noqa: E402
from torch import nn  # noqa: E402

import bnfold  # noqa: E402
from bnfold.errors import UnsupportedModelError  # noqa: E402
from tests.torch_export.folding import export  # noqa: E402
from tests.torch_modules import randomised  # noqa: E402


def saved(path, dtype):
    torch.manual_seed(0)
    module = randomised(nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU())).to(dtype)
    program = export(module, torch.randn(1, 3, 6, 6).to(dtype))
    from bnfold.frontends.torch_export.file import save_program

    save_program(program, path)
    return path


@pytest.mark.parametrize("verify", [True, False])
def test_what_onnxruntime_does_not_accept_is_not_written(tmp_path, verify):
    source, target = saved(tmp_path / "m.pt2", torch.bfloat16), tmp_path / "m.onnx"
    options = bnfold.FoldOptions(to="onnx") if verify else bnfold.FoldOptions(to="onnx", verify=None)
    with pytest.raises(UnsupportedModelError, match=r"does not accept it: .*convert the program to float32"):
        bnfold.fold_file(source, target, options)
    assert not target.exists()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16], ids=str)
def test_what_is_written_is_accepted(tmp_path, dtype):
    source, target = saved(tmp_path / "m.pt2", dtype), tmp_path / "m.onnx"
    report = bnfold.fold_file(source, target, bnfold.FoldOptions(to="onnx", verify=None))
    assert report.batch_norms.folded == 1
    onnx.checker.check_model(onnx.load(target), full_check=True)
    onnxruntime.InferenceSession(target, providers=["CPUExecutionProvider"])
