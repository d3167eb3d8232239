"""Structures that strangers tried: state, shared memory and names that could be in the way of a fold."""

from typing import NamedTuple

import pytest

torch = pytest.importorskip("torch", reason="torch is not installed: pip install 'bnfold[torch]'")
from torch import Tensor, nn  # noqa: E402

from tests.torch_modules import randomised  # noqa: E402
from tests.torchscript.folding import compiled, fold_and_compare  # noqa: E402

X = torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(0))


class Base(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(4)
        self.conv2 = nn.Conv2d(4, 4, 3, padding=1)
        self.norm2 = nn.BatchNorm2d(4)


class ReturnsStatistics(Base):
    """What a fold makes dead is returned."""

    def forward(self, x):
        return self.norm(self.conv(x)), self.norm.running_mean, self.norm.weight


class SharesParametersOfNorms(Base):
    def __init__(self):
        super().__init__()
        self.norm2.weight, self.norm2.bias = self.norm.weight, self.norm.bias

    def forward(self, x):
        return self.norm2(self.conv2(torch.relu(self.norm(self.conv(x)))))


class SharesMemory(Base):
    """Two weights lie in one tensor, which the program reads as a whole as well."""

    def __init__(self):
        super().__init__()
        whole = torch.randn(8, 3, 3, 3)
        self.conv.weight = nn.Parameter(whole[:4])
        self.other = nn.Conv2d(3, 4, 3, padding=1, bias=False)
        self.other.weight = nn.Parameter(whole[4:])
        self.whole = nn.Parameter(whole)

    def forward(self, x):
        return self.norm(self.conv(x)) + self.norm2(self.other(x)) + self.whole.sum()


class OneNumberPerChannel(Base):
    """Places of the weight share their memory."""

    def __init__(self):
        super().__init__()
        self.conv.weight = nn.Parameter(torch.randn(4, 3, 1, 1).expand(4, 3, 3, 3))

    def forward(self, x):
        return self.norm(self.conv(x))


class TakenNames(Base):
    """Every name that a new parameter would get is taken."""

    def __init__(self):
        super().__init__()
        self.conv_bias = nn.Parameter(torch.randn(4))
        self.register_buffer("conv_weight_folded", torch.randn(4))
        self.conv_bias_2 = nn.Parameter(torch.randn(1))

    def forward(self, x):
        y = self.norm(self.conv(x)) + self.conv_bias.view(1, 4, 1, 1) * self.conv_weight_folded.view(1, 4, 1, 1)
        return y + self.conv_bias_2 + self.norm2(self.conv(x))


class Decays(Base):
    """The weight is another one in every call."""

    def __init__(self):
        super().__init__()
        self.register_buffer("weight", torch.randn(4, 3, 3, 3))

    def forward(self, x):
        y = self.norm(nn.functional.conv2d(x, self.weight))
        self.weight.mul_(0.9)
        return y


class Remembers(Base):
    def __init__(self):
        super().__init__()
        self.register_buffer("before", torch.zeros(2, 4, 8, 8))

    def forward(self, x):
        y = self.conv(x)
        self.before.mul_(0.5).add_(y)
        return self.norm(self.before) + self.norm2(self.conv2(y))


class ResetBySomebodyElse(Base):
    """A method that forward does not call changes what a fold would build in."""

    @torch.jit.export
    def reset(self):
        self.norm.running_mean.zero_()
        self.norm2.running_var = torch.ones(4)

    def forward(self, x):
        return self.norm2(self.conv2(self.norm(self.conv(x))))


class Both(NamedTuple):
    normed: Tensor
    plain: Tensor


class ReturnsNamed(Base):
    def forward(self, x) -> Both:
        y = self.conv(x)
        return Both(normed=self.norm(y), plain=y)


class WritesThroughAView(Base):
    def forward(self, x):
        z = self.norm(self.conv(x))
        z.permute(0, 2, 3, 1).add_(1.0)
        return z


class WritesBehindADetach(Base):
    def forward(self, x):
        y = self.conv(x)
        z = self.norm(y)
        y.detach().zero_()
        return z, y


class Exchanges(Base):
    def forward(self, x):
        a = self.conv(x)
        b = self.conv2(a)
        a, b = b, a
        a.add_(b)
        return self.norm(a) + self.norm2(b)


class TakesApartWhatABranchMakes(Base):
    """As torch's own multi-head attention does with its projections."""

    def both(self, x) -> list[Tensor]:
        if bool(x.sum() > 1e9):
            return [x, x]
        return [self.conv2(x), x]

    def forward(self, x):
        first, second = self.both(self.norm(self.conv(x)))
        return self.norm2(first) + second


class Attends(Base):
    def __init__(self):
        super().__init__()
        self.attention = nn.MultiheadAttention(4, 2, batch_first=True)

    def forward(self, x):
        y = self.norm(self.conv(x)).flatten(2).transpose(1, 2)
        return self.attention(y, y, y)[0]


FOUND = {
    ReturnsStatistics: 1,
    SharesParametersOfNorms: 2,
    SharesMemory: 2,
    OneNumberPerChannel: 1,
    TakenNames: 2,
    Decays: 0,
    Remembers: 1,
    ResetBySomebodyElse: 0,
    ReturnsNamed: 0,
    WritesThroughAView: 1,
    WritesBehindADetach: 0,
    Exchanges: 0,
    TakesApartWhatABranchMakes: 1,
    Attends: 1,
}


@pytest.mark.parametrize(("kind", "folds"), FOUND.items(), ids=[kind.__name__ for kind in FOUND])
def test_what_is_found_in_scripts(kind, folds):
    torch.manual_seed(0)
    assert fold_and_compare(compiled(randomised(kind()), "scripted"), X).batch_norms_folded == folds
