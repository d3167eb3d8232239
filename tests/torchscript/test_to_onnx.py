"""Programs written as ONNX: the reference is the original as written, not as an exporter would fold it."""

import onnx
import pytest

torch = pytest.importorskip("torch", reason="torch is not installed")

import bnfold  # noqa: E402
from bnfold.frontends.onnx_export import export_as_written, export_to_onnx  # noqa: E402
from tests.torchscript.folding import compiled  # noqa: E402


def cancelling() -> torch.nn.Module:
    """Conv and BatchNorm whose shifts cancel but for a few parts in ten thousand."""
    torch.manual_seed(0)
    module = torch.nn.Sequential(torch.nn.Conv1d(3, 5, 3), torch.nn.BatchNorm1d(5)).eval()
    norm = module[1]
    norm.running_mean.normal_()
    norm.running_var.uniform_(0.1, 3)
    with torch.no_grad():
        norm.weight.normal_()
        scale = norm.weight / torch.sqrt(norm.running_var + norm.eps)
        norm.bias.copy_((norm.running_mean - module[0].bias) * scale * (1 + 3e-4))
    return module


@pytest.mark.parametrize("form", ["traced", "scripted"])
def test_no_exporter_folds_the_reference(form):
    x = torch.randn(2, 3, 9)
    script = compiled(cancelling(), form, x)
    operators = [node.op_type for node in export_as_written(script, [x]).graph.node]
    assert operators == ["Conv", "BatchNormalization"]
    assert [node.op_type for node in export_to_onnx(script, [x]).graph.node] == operators


def test_a_shift_that_cancels_passes(tmp_path):
    compiled(cancelling(), "scripted").save(tmp_path / "m.pt")
    options = bnfold.FoldOptions(to="onnx", verify=bnfold.api.VerifyOptions(shapes={"input": (2, 3, 9)}))
    report = bnfold.fold_file(tmp_path / "m.pt", tmp_path / "m.onnx", options)
    assert report.batch_norms.folded == 1
    assert report.verification.passed
    (conv,) = onnx.load(tmp_path / "m.onnx").graph.node
    assert conv.op_type == "Conv"


def test_an_exported_program_is_a_reference_as_written():
    module, x = cancelling(), torch.randn(2, 3, 9)
    model = export_as_written(torch.export.export(module, (x,)), [])
    assert "BatchNormalization" in [node.op_type for node in model.graph.node]
