"""Objects of TorchScript classes and enumerations as attributes of modules."""

from enum import Enum

import pytest

torch = pytest.importorskip("torch", reason="torch is not installed: pip install 'bnfold[torch]'")
from torch import nn  # noqa: E402

from tests.torch_modules import randomised  # noqa: E402
from tests.torchscript.folding import compiled, deprecations_silenced, fold_and_compare  # noqa: E402

X = torch.randn(2, 3, 6, 6)

with deprecations_silenced():

    @torch.jit.script
    class Coder:
        def __init__(self, scale: float):
            self.scale = scale
            self.last = torch.zeros(1)

        def decode(self, x: torch.Tensor) -> torch.Tensor:
            self.last = x
            return x * self.scale

        def halved(self) -> torch.Tensor:
            return self.last.mul_(0.5)


class Mode(Enum):
    SUM = "sum"
    MEAN = "mean"


class WithObject(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 3, 3)
        self.norm = nn.BatchNorm2d(3)
        self.coder = Coder(0.25)

    def forward(self, x):
        return self.coder.decode(torch.relu(self.norm(self.conv(x))))


class KeepsAndWrites(WithObject):
    """The object holds the tensor and writes to it later."""

    def forward(self, x):
        y = self.norm(self.conv(x))
        z = self.coder.decode(y)
        return self.coder.halved() + y, z


class WithEnum(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 3, 3)
        self.norm = nn.BatchNorm2d(3)
        self.mode = Mode.MEAN

    def forward(self, x):
        y = self.norm(self.conv(x))
        if self.mode == Mode.MEAN:
            return y.mean(1)
        return y.sum(1)


@pytest.mark.parametrize("kind", [WithObject, KeepsAndWrites, WithEnum])
def test_a_module_that_holds_one_folds(kind):
    torch.manual_seed(0)
    assert fold_and_compare(compiled(randomised(kind()), "scripted"), X).batch_norms_folded == 1
