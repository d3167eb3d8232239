"""A factor of one number for all channels: in a program its tensor keeps its shape, and the BatchNorm stays."""

import pytest

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402

import bnfold  # noqa: E402
from bnfold.refusal import Reason  # noqa: E402


class Gated(nn.Module):
    """(sigmoid(x) * (gate * k)) + b, and a BatchNorm: its scale belongs to neither factor."""

    def __init__(self, divides):
        super().__init__()
        self.divides = divides
        self.gate, self.norm = nn.Conv2d(3, 1, 6), nn.BatchNorm2d(3).eval()
        self.bias = nn.Parameter(torch.ones(3, 1, 1))
        nn.init.uniform_(self.norm.weight, 0.5, 2)

    def forward(self, x):
        gate = torch.tanh(self.gate(x))
        return self.norm(torch.sigmoid(x) * (gate / 0.3 if self.divides else gate * torch.tensor(0.3)) + self.bias)


@pytest.mark.parametrize("divides", [False, True])
def test_a_gate_keeps_its_shape(divides):
    torch.manual_seed(0)
    model = Gated(divides).eval()
    program = torch.export.export(model, (torch.randn(2, 3, 6, 6),))
    result = bnfold.fold(program, affine=False)
    (kept,) = result.report.outcome.kept
    assert Reason.WRONG_AXIS in {refusal.reason for refusal in kept.refusals}
