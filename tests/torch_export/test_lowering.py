"""What stays of the BatchNorms of exported programs, rewritten into convolutions, mul and add."""

import pytest

torch = pytest.importorskip("torch", reason="torch is not installed: pip install '.[torch]'")
from torch import nn  # noqa: E402

import bnfold  # noqa: E402
from tests.torch_export.folding import assert_same, export, fold  # noqa: E402
from tests.torch_modules import randomised  # noqa: E402

BATCH_NORM = {0: nn.BatchNorm1d, 1: nn.BatchNorm1d, 2: nn.BatchNorm2d, 3: nn.BatchNorm3d}


class ReadTwice(nn.Module):
    """A BatchNorm whose input and output others read, neither of which can take an inverse."""

    def __init__(self, axes):
        super().__init__()
        self.bn = BATCH_NORM[axes](4)

    def forward(self, x):
        y = torch.sin(x)
        return torch.relu(self.bn(y)) + torch.cos(y)


@pytest.mark.parametrize("decomposed", [False, True])
@pytest.mark.parametrize("axes", [0, 1, 2, 3])
@pytest.mark.parametrize("form", ["conv", "affine"])
def test_forms(form, axes, decomposed):
    x = torch.randn(2, 4, *(5,) * axes)
    program = export(randomised(ReadTwice(axes)), x, decomposed=decomposed)
    result = fold(program, lower=form)
    (entry,) = result.report.outcome.lowered
    expected = (f"aten::conv{axes}d",) if form == "conv" and axes else ("aten::mul", "aten::add")
    assert entry.operators == expected
    assert not result.report.outcome.kept
    assert_same(program, result.model, x)
    for again in ("", form):
        assert not fold(result.model, lower=again).report.outcome.changes
    assert set(result.model.state_dict) == (
        {"bn.conv_weight", "bn.conv_bias"} if form == "conv" and axes else {"bn.scale", "bn.shift"}
    )


class InFrontOfPadding(nn.Module):
    def __init__(self):
        super().__init__()
        self.bn, self.conv = nn.BatchNorm2d(4), nn.Conv2d(4, 3, 3, padding=1)

    def forward(self, x):
        return self.conv(self.bn(x))


def test_an_addition_alone():
    module = randomised(InFrontOfPadding())
    with torch.no_grad():
        module.bn.weight[0] = 2.0
    x = torch.randn(2, 4, 5, 5)
    program = export(module, x)
    result = bnfold.fold(program, lower="add")
    assert result.report.verification.passed
    (entry,) = result.report.outcome.lowered
    assert entry.operators == ("aten::add",)
    assert [label.rpartition(".")[2] for label in entry.into] == ["conv"]
    assert_same(program, result.model, x)
    assert not fold(result.model, lower="add").report.outcome.changes


@pytest.mark.parametrize("form", ["conv", "affine"])
def test_the_type_is_that_of_the_tensor(form):
    """Statistics in float32 beside a tensor in bfloat16, as mixed precision has them."""
    x = torch.randn(2, 4, 5, 5, dtype=torch.bfloat16)
    program = export(randomised(ReadTwice(2)), x)
    result = fold(program, lower=form)
    assert {tensor.dtype for tensor in result.model.state_dict.values()} == {torch.bfloat16}
    assert result.model.module()(x).dtype == torch.bfloat16


def test_with_affine_nodes_of_a_plain_program_nothing_else_changes():
    x = torch.randn(2, 4)
    program = export(randomised(nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4))), x)
    result = fold(program, lower="conv")
    assert (len(result.report.outcome.folds), len(result.report.outcome.lowered)) == (1, 0)
