"""Programs of PyTorch that torch finds equal are compared under onnxruntime as well, where they can be exported."""

import pytest

torch = pytest.importorskip("torch")

import onnx  # noqa: E402
from onnx import numpy_helper  # noqa: E402
from torch import nn  # noqa: E402

import bnfold  # noqa: E402
from bnfold.api.formats import under_onnxruntime  # noqa: E402
from bnfold.errors import UnsupportedModelError, VerificationError  # noqa: E402
from tests.torchscript.folding import deprecations_silenced  # noqa: E402

SHAPES = {"x": (2, 3, 8, 8)}


class Plain(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm, self.last = nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Conv2d(4, 4, 1)

    def forward(self, x):
        return self.last(torch.relu(self.norm(self.conv(x))))


class Counting(Plain):
    """It remembers how often it was called."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("calls", torch.zeros(()))

    def forward(self, x):
        self.calls += 1
        return self.last(torch.relu(self.norm(self.conv(x))))


class Noisy(Plain):
    def forward(self, x):
        return self.last(torch.relu(self.norm(self.conv(x)))) + torch.rand(2, 4, 1, 1)


def drawn(kind: type[Plain]) -> Plain:
    torch.manual_seed(0)
    module = kind()
    with torch.no_grad():
        module.norm.running_mean.normal_()
        module.norm.running_var.uniform_(0.5, 2)
        module.norm.weight.normal_()
    return module.eval()


def scripted(module: nn.Module) -> torch.jit.ScriptModule:
    with deprecations_silenced():
        return torch.jit.script(module)


def exported(module: nn.Module) -> torch.export.ExportedProgram:
    return torch.export.export(module, (torch.randn(SHAPES["x"]),))


def verdict_on(program) -> bnfold.Verification:
    return bnfold.fold(program, verify=bnfold.VerifyOptions(shapes=SHAPES)).report.verification


def spoil_second_export(monkeypatch) -> None:
    exports, right = [], under_onnxruntime.export_as_written

    def export(program, arguments):
        model = right(program, arguments)
        exports.append(model)
        if len(exports) == 2:
            tensor = next(entry for entry in model.graph.initializer if len(entry.dims) == 4)
            values = numpy_helper.to_array(tensor).copy()
            values[0] *= 1.001
            tensor.CopyFrom(numpy_helper.from_array(values, tensor.name))
        return model

    monkeypatch.setattr(under_onnxruntime, "export_as_written", export)


@pytest.mark.parametrize("form", [scripted, exported])
def test_a_fold_passes_in_torch_and_under_onnxruntime(form):
    verdict = verdict_on(form(drawn(Plain)))
    assert verdict.passed
    assert verdict.deployment.passed
    assert not any("onnxruntime" in warning for warning in verdict.warnings)


@pytest.mark.parametrize("form", [scripted, exported])
def test_what_differs_under_onnxruntime_alone_fails(form, monkeypatch):
    """As if a kernel of torch's had hidden it: the export of the new program has one weight off by a thousandth."""
    spoil_second_export(monkeypatch)
    with pytest.raises(VerificationError, match="under onnxruntime: "):
        verdict_on(form(drawn(Plain)))


def test_what_an_export_does_not_do_is_said():
    for kind, why in ((Counting, "the program writes to"), (Noisy, "random numbers")):
        verdict = verdict_on(scripted(drawn(kind)))
        assert verdict.passed
        assert any("not compared under onnxruntime: " in warning and why in warning for warning in verdict.warnings)


def test_what_torch_cannot_export_is_said(monkeypatch):
    def export(_program, _arguments) -> onnx.ModelProto:
        raise UnsupportedModelError("torch cannot export it to ONNX: no symbol")

    monkeypatch.setattr(under_onnxruntime, "export_as_written", export)
    verdict = verdict_on(scripted(drawn(Plain)))
    assert verdict.passed
    assert "not compared under onnxruntime: torch cannot export it to ONNX: no symbol" in verdict.warnings
