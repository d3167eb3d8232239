"""Programs that write to memory, scripted, traced and exported: nothing that can be seen may change."""

from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="torch is not installed: pip install 'bnfold[torch]'")
from torch import nn  # noqa: E402

from tests.torch_modules import randomised  # noqa: E402
from tests.writes.compare import CALLS, WAYS, Examined, compare, examine  # noqa: E402
from tests.writes.generator import SHAPE  # noqa: E402

SEEDS = {"scripted": 25, "traced": 25, "exported": 10}


class Base(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(4, 4, 3, padding=1)
        self.norm = nn.BatchNorm2d(4)
        self.after = nn.Conv2d(4, 4, 1)
        self.last = nn.BatchNorm2d(4)
        self.register_buffer("state", torch.zeros(SHAPE))
        self.gain = nn.Parameter(torch.randn(4, 1, 1))


class CopiedToState(Base):
    def forward(self, x: torch.Tensor, y: torch.Tensor):
        z = self.norm(self.conv(x))
        self.state.copy_(z)
        return torch.relu(z), y


class AddedToState(Base):
    def forward(self, x: torch.Tensor, y: torch.Tensor):
        z = torch.tanh(self.norm(self.conv(x)))
        out = self.last(self.after(z + self.state))
        self.state.mul_(0.5).add_(z)
        return out, y


class Counts(Base):
    def forward(self, x: torch.Tensor, y: torch.Tensor):
        self.state.add_(1)
        return self.norm(self.conv(x)) + self.state, y


class IntoArgument(Base):
    def forward(self, x: torch.Tensor, y: torch.Tensor):
        z = self.norm(self.conv(x))
        torch.add(z, 0.0, out=y)
        return z.mean(1), z.sum(1)


class InputChanged(Base):
    def forward(self, x: torch.Tensor, y: torch.Tensor):
        x += self.norm(self.conv(x))
        return torch.relu(x), y


class ResidualWithView(Base):
    def forward(self, x: torch.Tensor, y: torch.Tensor):
        a = torch.sigmoid(self.norm(self.conv(x)))
        shown = a.flatten(1)
        a += self.last(self.after(a))
        return a, shown, y


class SliceScaled(Base):
    def forward(self, x: torch.Tensor, y: torch.Tensor):
        a = torch.tanh(self.norm(self.conv(x)))
        a[:, :2] *= self.last(self.after(x))[:, :2]
        return a, y


class SliceOfNormScaled(Base):
    """Here the tensor itself loses its BatchNorm."""

    def forward(self, x: torch.Tensor, y: torch.Tensor):
        a = self.norm(self.conv(x))
        a[:, :2] *= self.gain[:2]
        return self.last(self.after(a)), y


class Shifted(Base):
    def forward(self, x: torch.Tensor, y: torch.Tensor):
        a = nn.functional.relu(self.norm(self.conv(x)), inplace=True)
        moved = torch.zeros_like(a)
        moved[:, :1] = a[:, 1:2]
        moved[:, 1:3] = a[:, :2]
        moved[:, 3:] = a[:, 3:]
        return self.last(self.after(moved)), y


class SliceAssigned(Base):
    def forward(self, x: torch.Tensor, y: torch.Tensor):
        x[:, 1:2] = 0.5
        return self.norm(self.conv(x)), y


class Chunked(Base):
    def forward(self, x: torch.Tensor, y: torch.Tensor):
        a, b = nn.functional.silu(self.norm(self.conv(x)), inplace=True).chunk(2, 1)
        c = nn.functional.silu(self.last(self.after(torch.cat([b, b], 1))), inplace=True)
        return torch.cat([a, b, c], 1), y


class PartWritten(Base):
    def forward(self, x: torch.Tensor, y: torch.Tensor):
        z = self.norm(self.conv(x))
        a, b = z.split([2, 2], 1)
        b.mul_(2.0)
        return self.last(self.after(z)), a + y[:, :2]


class PreActivation(Base):
    """Without its BatchNorm, the activation in place would write to what is added later."""

    def forward(self, x: torch.Tensor, y: torch.Tensor):
        a = torch.sigmoid(x)
        return a + self.after(torch.neg_(self.norm(a))), y


class PreActivationOfInput(Base):
    def forward(self, x: torch.Tensor, y: torch.Tensor):
        return self.after(torch.neg_(self.norm(x))), y


class StateRead(Base):
    """The BatchNorm stands on the state itself, which is written to later."""

    def forward(self, x: torch.Tensor, y: torch.Tensor):
        z = self.after(self.norm(self.state))
        self.state.copy_(x)
        return z, y


class InALoop(Base):
    def forward(self, x: torch.Tensor, y: torch.Tensor):
        a = torch.sigmoid(x)
        for _ in range(2):
            y = y + self.after(self.norm(a))
            a += y
        return y, a


class InAList(Base):
    def forward(self, x: torch.Tensor, y: torch.Tensor):
        z = self.norm(self.conv(x))
        both = [z, y]
        both[0].mul_(0.5)
        return self.last(self.after(z)), torch.stack(both)


class WriteThatNothingReads(Base):
    """In inference dropout gives back what it was given: the caller sees the write although the program does not."""

    def forward(self, x: torch.Tensor, y: torch.Tensor):
        dropped = nn.functional.dropout(x, 0.5, self.training)
        z = self.norm(self.conv(y))
        dropped.mul_(0.5)
        return z, y


class WholeListOfParts(Base):
    def forward(self, x: torch.Tensor, y: torch.Tensor):
        z = self.norm(self.conv(x))
        return torch.cat(z.chunk(2, 1), 1), y * z


FOLDED = {
    CopiedToState: 1,
    AddedToState: 2,
    Counts: 1,
    IntoArgument: 1,
    InputChanged: 1,
    ResidualWithView: 2,
    SliceScaled: 2,
    SliceOfNormScaled: 2,
    Shifted: 2,
    SliceAssigned: 1,
    Chunked: 2,
    PartWritten: 2,
    PreActivation: 1,
    PreActivationOfInput: 1,
    InAList: 2,
    WriteThatNothingReads: 1,
    WholeListOfParts: 1,
}


def compared(kind: type[Base], way: str) -> Examined:
    torch.manual_seed(0)
    inputs = [[torch.randn(SHAPE, dtype=torch.float64) * 2 for _ in range(2)] for _ in range(CALLS)]
    found = compare(randomised(kind().double().eval(), 0), way, inputs)
    assert found.unusable == ""
    assert found.problem == ""
    return found


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("kind", FOLDED)
def test_folds_and_keeps_every_write(kind: Any, way: str) -> None:
    assert compared(kind, way).folded == FOLDED[kind]


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("kind", [StateRead, InALoop])
def test_what_is_written_later_is_read_as_it_was(kind: Any, way: str) -> None:
    compared(kind, way)


@pytest.mark.parametrize("way", WAYS)
def test_random_programs(way: str) -> None:
    examined = {seed: examine(seed, way) for seed in range(SEEDS[way])}
    assert {seed: found.problem for seed, found in examined.items() if found.problem} == {}
    usable = [found for found in examined.values() if not found.unusable]
    assert len(usable) > SEEDS[way] / 2
    assert sum(found.folded for found in usable) > sum(found.found for found in usable) / 4
