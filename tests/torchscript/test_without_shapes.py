"""Folding scripts without a check: with shapes that the caller gives, and with ranks that the program fixes itself."""

import pytest

torch = pytest.importorskip("torch", reason="torch is not installed: pip install 'bnfold[torch]'")
from torch import nn  # noqa: E402

import bnfold  # noqa: E402
from bnfold.cli.main import main  # noqa: E402
from bnfold.engine import fold_graph  # noqa: E402
from bnfold.errors import UsageError  # noqa: E402
from bnfold.frontends.aten.port import AtenPort  # noqa: E402
from bnfold.frontends.torchscript.program import ScriptProgram  # noqa: E402
from tests.torch_modules import randomised  # noqa: E402
from tests.torchscript.folding import assert_same, compiled, deprecations_silenced  # noqa: E402

X = torch.randn(2, 3, 6, 6)


def network():
    torch.manual_seed(0)
    return randomised(
        nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 4, 3), nn.BatchNorm2d(4))
    )


def linear():
    """nn.BatchNorm1d takes two axes or three, so nothing fixes its rank."""
    torch.manual_seed(0)
    return randomised(nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4)))


@pytest.mark.parametrize("way", ["scripted", "traced", "frozen"])
def test_ranks_that_the_program_fixes_are_enough_for_convolutions(way):
    module = compiled(network(), way, X)
    result = bnfold.fold(module, verify=None)
    assert result.report.batch_norms.folded == 2
    assert_same(module, result.model, X)


def test_a_rank_that_nothing_fixes_is_not_assumed():
    module = compiled(linear(), "scripted")
    result = bnfold.fold(module, verify=None)
    assert result.report.batch_norms.folded == 0
    (kept,) = result.report.outcome.kept
    assert "not known before run time" in kept.refusals[0].evidence
    assert (
        kept.refusals[0].hint == "say what it runs on, such as shapes={'input': (1, 3)} or shapes={'input': (1, 32, 3)}"
    )


def test_what_a_shape_cannot_help_asks_for_none():
    class Product(nn.Module):
        def forward(self, x):
            return torch.nn.functional.batch_norm(x, x[0], x[1])

    result = bnfold.fold(compiled(Product(), "scripted"), verify=None)
    assert not result.report.outcome.kept[0].refusals[0].hint


def test_a_guard_of_rank_stands_for_a_scripted_conv_that_takes_two_ranks():
    program = ScriptProgram(compiled(network(), "scripted"))
    assert len(fold_graph(AtenPort(program.graph)).folds) == 2

    unguarded = ScriptProgram(compiled(nn.Sequential(nn.Conv2d(3, 4, 3), nn.Sigmoid()), "scripted"))
    assert {value.shape for node in unguarded.graph.nodes for value in node.outputs} == {None}


def test_shapes_are_used_without_a_check():
    module = compiled(linear(), "scripted")
    result = bnfold.fold(module, verify=None, shapes={"input": (2, 3)})
    assert result.report.batch_norms.folded == 1
    assert result.report.verification.status == "skipped"
    assert_same(module, result.model, torch.randn(2, 3))


def test_a_shape_that_the_program_does_not_take_is_an_error():
    with pytest.raises(UsageError, match="other"):
        bnfold.fold(compiled(linear(), "scripted"), verify=None, shapes={"other": (2, 3)})


def test_shape_and_no_verify_go_together_on_the_command_line(tmp_path, capsys):
    source, target = tmp_path / "m.pt", tmp_path / "out.pt"
    module = compiled(linear(), "scripted")
    with deprecations_silenced():
        torch.jit.save(module, source)
    assert main([str(source), "-o", str(target), "--no-verify", "--shape", "input=2,3", "--fail-on-kept"]) == 0
    assert "BatchNorms 1 -> 0 1 folded" in " ".join(capsys.readouterr().out.split())
    with deprecations_silenced():
        assert_same(module, torch.jit.load(target), torch.randn(2, 3))


class Branches(nn.Module):
    """The guard of rank stands in a branch that three axes never take."""

    def __init__(self):
        super().__init__()
        self.conv, self.norm = nn.Conv2d(3, 3, 1), nn.BatchNorm2d(3)

    def forward(self, x):
        y = self.conv(x)
        if y.dim() == 4:
            return self.norm(y)
        return y


def test_a_guard_in_a_branch_fixes_nothing_outside():
    program = ScriptProgram(compiled(Branches(), "scripted"))
    (conv,) = (node for node in program.graph.nodes if node.op == "aten::conv2d")
    assert conv.outputs[0].shape is None


def test_verify_finds_the_shapes_that_folding_finds(tmp_path):
    module = compiled(network(), "scripted")
    folded = bnfold.fold(module).model
    paths = [tmp_path / "model.pt", tmp_path / "folded.pt"]
    with deprecations_silenced():
        for program, path in zip((module, folded), paths, strict=True):
            torch.jit.save(program, path)
    verdict = bnfold.verify(*paths)
    assert verdict.passed
    assert "was fed as (" in verdict.warnings[0]
    with torch.no_grad():
        dict(folded.named_parameters())["0.weight"][1] *= 1.01
    wrong = bnfold.verify(module, folded, samples=1)
    assert wrong.status == "failed"


def test_verify_does_not_compare_a_program_with_an_onnx_model():
    with pytest.raises(UsageError, match="export both to ONNX"):
        bnfold.verify(compiled(network(), "scripted"), b"")
