"""Layers that a script collects by name, as torchvision's IntermediateLayerGetter does: which ones is fixed."""

import pytest

torch = pytest.importorskip("torch", reason="torch is not installed: pip install 'bnfold[torch]'")
from torch import nn  # noqa: E402

from bnfold.refusal import Reason  # noqa: E402
from tests.torch_modules import randomised  # noqa: E402
from tests.torchscript.folding import compiled, fold_and_compare  # noqa: E402

X = torch.randn(2, 3, 6, 6, generator=torch.Generator().manual_seed(0))


class Collecting(nn.Module):
    """The activation behind the BatchNorm works in place: collected, its input would be seen through it."""

    wanted: dict[str, str]

    def __init__(self, wanted):
        super().__init__()
        self.wanted = wanted
        self.layers = nn.ModuleDict(
            {
                "conv": nn.Conv2d(3, 4, 3),
                "bn": nn.BatchNorm2d(4),
                "relu": nn.ReLU(inplace=True),
                "last": nn.Conv2d(4, 4, 1),
            }
        )

    def forward(self, x):
        found: dict[str, torch.Tensor] = {}
        for name, layer in self.layers.items():
            x = layer(x)
            if name in self.wanted:
                found[self.wanted[name]] = x
        return found


class Choosing(Collecting):
    """What is collected is chosen while it runs."""

    def forward(self, x):
        if x.size(0) > 2:
            self.wanted["bn"] = "behind the norm"
        found: dict[str, torch.Tensor] = {}
        for name, layer in self.layers.items():
            x = layer(x)
            if name in self.wanted:
                found[self.wanted[name]] = x
        return found


@pytest.fixture(autouse=True)
def seeded():
    torch.manual_seed(0)


def test_what_is_not_collected_keeps_nothing_from_folding():
    result = fold_and_compare(compiled(randomised(Collecting({"last": "y"})), "scripted"), X)
    assert len(result.folds) == 1
    assert set(result.module(X)) == {"y"}


@pytest.mark.parametrize("name", ["conv", "bn"])
def test_what_is_collected_keeps_its_values(name):
    result = fold_and_compare(compiled(randomised(Collecting({name: "inner", "last": "y"})), "scripted"), X)
    assert set(result.module(X)) == {"inner", "y"}


def test_a_table_that_changes_is_not_read_ahead():
    result = fold_and_compare(compiled(randomised(Choosing({"last": "y"})), "scripted"), X)
    assert result.reasons == [Reason.MUTATED]
    assert set(result.module(torch.cat((X, X)))) == {"behind the norm", "y"}
