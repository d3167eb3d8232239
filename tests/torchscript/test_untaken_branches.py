"""Branches that no sample takes: what the program fixes there is used, and what samples showed elsewhere is not."""

import pytest

torch = pytest.importorskip("torch", reason="torch is not installed: pip install 'bnfold[torch]'")
from torch import nn  # noqa: E402

from bnfold.refusal import Reason  # noqa: E402
from tests.torch_modules import randomised  # noqa: E402
from tests.torchscript.folding import assert_same, compiled, fold  # noqa: E402


def seeded(*shape):
    return torch.randn(shape, generator=torch.Generator().manual_seed(sum(shape)))


class BySize(nn.Module):
    """Large images take another way, in which convolutions and BatchNorms follow each other."""

    def __init__(self):
        super().__init__()
        self.small = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4))
        self.large = nn.Sequential(
            nn.Conv2d(3, 4, 3, stride=2), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 4, 1), nn.BatchNorm2d(4)
        )

    def forward(self, x):
        return self.large(x) if x.size(2) > 50 else self.small(x)


def test_what_the_program_fixes_is_enough_to_fold():
    torch.manual_seed(0)
    result = fold(compiled(randomised(BySize()), "scripted"), seeded(2, 3, 8, 8))
    assert result.batch_norms_folded == 3
    for shape in ((2, 3, 8, 8), (1, 3, 60, 9)):
        assert_same(result.original, result.module, seeded(*shape))


class Linear(nn.Module):
    """Four axes take another way: there, the channels of the BatchNorm are not those of the linear map."""

    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Linear(4, 4), nn.Linear(4, 4)
        self.norm, self.wide = nn.BatchNorm2d(4), nn.BatchNorm2d(8)

    def forward(self, x):
        return self.images(x) if x.dim() == 4 else self.first(x)

    def images(self, x):
        return self.norm(self.first(x))


class Joined(Linear):
    def images(self, x):
        return self.wide(torch.cat((self.first(x), self.second(x)), 1))


class Permuted(Linear):
    def images(self, x):
        return self.norm(torch.transpose(x, 0, 1).transpose(0, 1))


class Stacked(Linear):
    def images(self, x):
        a, b, c, d = x.unbind(1)
        return self.norm(torch.stack((self.first(a), b, self.second(c), d), 1))


class Nested(Linear):
    """The inner branch is chosen by the rank that samples have, and never runs with it."""

    def images(self, x):
        if x.dim() == 2:  # noqa: SIM108 - as people write it
            y = x
        else:
            y = x.contiguous()
        return self.norm(self.first(y))


@pytest.mark.parametrize("module", [Linear, Joined, Permuted, Stacked, Nested])
@pytest.mark.parametrize("shape", [(5, 4), (3, 5, 4)], ids=str)
def test_a_rank_that_was_seen_elsewhere_is_not_believed(module, shape):
    torch.manual_seed(0)
    result = fold(compiled(randomised(module()), "scripted"), seeded(*shape))
    for others in (shape, (2, 4, 4, 4), (3, 4, 5, 4)):
        assert_same(result.original, result.module, seeded(*others))


def test_the_reason_says_which_branch():
    torch.manual_seed(0)
    result = fold(compiled(randomised(Linear()), "scripted"), seeded(5, 4))
    assert result.reasons == [Reason.UNKNOWN_SHAPE]
    (kept,) = result.kept
    assert "no sample takes the branch" in kept.refusals[0].evidence
