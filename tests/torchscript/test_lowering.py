"""What stays of the BatchNorms of TorchScript, rewritten into convolutions, mul and add."""

import pytest

torch = pytest.importorskip("torch", reason="torch is not installed: pip install '.[torch]'")
from torch import nn  # noqa: E402

from tests.torch_modules import randomised  # noqa: E402
from tests.torchscript.folding import WAYS, compiled, fold, fold_and_compare  # noqa: E402


class ReadTwice(nn.Module):
    """A BatchNorm whose input and output others read, neither of which can take an inverse."""

    def __init__(self, norm):
        super().__init__()
        self.bn = norm

    def forward(self, x):
        y = torch.sin(x)
        return torch.relu(self.bn(y)) + torch.cos(y)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(("norm", "axes"), [(nn.BatchNorm1d, 1), (nn.BatchNorm2d, 2), (nn.BatchNorm3d, 3)])
@pytest.mark.parametrize("form", ["conv", "affine"])
def test_forms(form, norm, axes, way):
    x = torch.randn(2, 4, *(5,) * axes)
    module = compiled(randomised(ReadTwice(norm(4))), way, x)
    folded = fold_and_compare(module, x, lower=form)
    operators = str(folded.module.inlined_graph)
    assert "batch_norm" not in operators
    assert (f"aten::conv{axes}d" in operators) == (form == "conv")
    assert ("aten::mul" in operators) == (form == "affine")
    for again in (None, form):
        second = fold(folded.module, x, lower=again)
        assert second.folds == ()
        assert not any(entry.is_batch_norm for entry in second.kept)


def test_an_addition_alone():
    norm = randomised(nn.BatchNorm2d(4))
    with torch.no_grad():
        norm.weight[0] = 2.0
    x = torch.randn(2, 4, 5, 5)
    module = compiled(nn.Sequential(norm, nn.Conv2d(4, 3, 3, padding=1)).eval(), "traced", x)
    folded = fold_and_compare(module, x, lower="add")
    assert "batch_norm" not in str(folded.module.inlined_graph)
    assert str(folded.module.inlined_graph).count("aten::add") == 1
