"""where, maximum and max of two tensors, and einsums of two: in programs as in ONNX."""

import pytest

torch = pytest.importorskip("torch", reason="torch is not installed: pip install '.[torch]'")
from torch import nn  # noqa: E402

from bnfold.refusal import Reason  # noqa: E402
from tests.torch_export.folding import assert_same, counts, export, fold, reasons  # noqa: E402
from tests.torch_modules import randomised  # noqa: E402


class Chosen(nn.Module):
    """Two convolutions, of which a function makes one tensor, and a norm behind it."""

    def __init__(self, choose):
        super().__init__()
        self.choose, self.norm = choose, nn.BatchNorm2d(4)
        self.one, self.other = nn.Conv2d(3, 4, 1), nn.Conv2d(3, 4, 1)

    def forward(self, x):
        return self.norm(self.choose(self.one(x), self.other(x), x))


def chosen(choose, *, positive=True):
    module = randomised(Chosen(choose)).eval()
    if positive:
        module.norm.weight.data.abs_()
    return module


X = torch.randn(2, 3, 5, 5)
CHOICES = {
    "maximum": lambda a, b, _: torch.maximum(a, b),
    "max": lambda a, b, _: torch.max(a, b),
    "min": lambda a, b, _: torch.min(a, b),
    "where": lambda a, b, x: torch.where(x[:, :1] > 0, a, b),
}


@pytest.mark.parametrize("name", CHOICES)
def test_a_norm_behind_a_choice_of_two_goes_to_both(name):
    program = export(chosen(CHOICES[name]), X)
    result = fold(program)
    assert_same(program, result.model, X)
    assert counts(result) == (1, 0)


def test_a_negative_scale_stays_behind_the_larger_of_two():
    module = chosen(CHOICES["max"], positive=False)
    module.norm.weight.data[0] = -1.0
    assert reasons(fold(export(module, X))) == [Reason.NEEDS_NON_NEGATIVE_SCALE]


def test_a_constant_that_is_chosen_keeps_its_numbers():
    program = export(chosen(lambda a, _, x: torch.where(x[:, :1] > 0, a, 0.5)), X)
    assert reasons(fold(program)) == [Reason.NOT_LINEAR]


class Weighed(nn.Module):
    """Attention in einsums; the norms are those of keys and values."""

    def __init__(self):
        super().__init__()
        self.q, self.k, self.v = (nn.Conv1d(4, 8, 1) for _ in range(3))
        self.keys, self.values = nn.BatchNorm1d(8), nn.BatchNorm1d(8)

    def forward(self, x):
        q, k, v = self.q(x), self.keys(self.k(x)), self.values(self.v(x))
        weights = torch.einsum("bdq,bdk->bqk", q, k).softmax(-1)
        return torch.relu(torch.einsum("bqk,bdk->bdq", weights, v))


def test_attention_in_einsums():
    module, x = randomised(Weighed()).eval(), torch.randn(2, 4, 6)
    program = export(module, x)
    result = fold(program)
    assert_same(program, result.model, x)
    assert counts(result) == (2, 0)
