"""Modules for tests: torch.jit.script wants their source in a file."""

from enum import Enum

import torch
from torch import nn


class Before(nn.Module):
    """An operator, and a BatchNorm behind it."""

    def __init__(self, operator: nn.Module, norm: nn.Module):
        super().__init__()
        self.operator = operator
        self.norm = norm

    def forward(self, x):
        return self.norm(self.operator(x))


class CalledTwice(nn.Module):
    """One convolution called twice, a BatchNorm behind one of the calls."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(4, 4, 3, padding=1)
        self.norm = nn.BatchNorm2d(4)

    def forward(self, x):
        return self.conv(torch.tanh(self.norm(self.conv(x))))


class Tied(nn.Module):
    """Two convolutions with one weight, a BatchNorm behind the first."""

    def __init__(self):
        super().__init__()
        self.first = nn.Conv2d(4, 4, 1, bias=False)
        self.second = nn.Conv2d(4, 4, 1, bias=False)
        self.second.weight = self.first.weight
        self.norm = nn.BatchNorm2d(4)

    def forward(self, x):
        return self.norm(self.first(x)), self.second(x)


class ReadsWeight(nn.Module):
    """A weight that is read beside its convolution."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)
        self.norm = nn.BatchNorm2d(4)

    def forward(self, x):
        return self.norm(self.conv(x)) + self.conv.weight.abs().sum()


class ReadsOutput(nn.Module):
    """A convolution whose output is read beside the BatchNorm."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)
        self.norm = nn.BatchNorm2d(4)

    def forward(self, x):
        y = self.conv(x)
        return torch.tanh(self.norm(y)) * torch.sigmoid(y)


class OutputInTheMiddle(nn.Module):
    """A convolution whose output is given to the caller as well."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)
        self.norm = nn.BatchNorm2d(4)
        self.last = nn.Conv2d(4, 2, 1)
        self.last_norm = nn.BatchNorm2d(2)

    def forward(self, x):
        y = self.conv(x)
        return self.last_norm(self.last(torch.tanh(self.norm(y)))), y


class InPlace(nn.Module):
    """A BatchNorm, a relu in place, and a convolution."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)
        self.norm = nn.BatchNorm2d(4)
        self.act = nn.ReLU(inplace=True)
        self.last = nn.Conv2d(4, 4, 1)
        self.last_norm = nn.BatchNorm2d(4)

    def forward(self, x):
        return self.last_norm(self.last(self.act(self.norm(self.conv(x)))))


class InPlaceNoticed(nn.Module):
    """A relu in place on the output of a convolution that a BatchNorm reads afterwards."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)
        self.norm = nn.BatchNorm2d(4)

    def forward(self, x):
        y = self.conv(x)
        view = y.view(y.shape[0], 4, -1)
        torch.relu_(view)
        return self.norm(y)


class Block(nn.Module):
    """A convolution and a BatchNorm; scripted blocks of one size share a class."""

    def __init__(self, channels: int = 4):
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(channels)

    def forward(self, x):
        return self.norm(self.conv(x))


class SharedClass(nn.Module):
    """Two blocks of one class: in the second the convolution's output is read by somebody else."""

    def __init__(self):
        super().__init__()
        self.first = Block()
        self.second = Block()

    def forward(self, x):
        y = torch.tanh(self.first(x))
        return self.second(y) * self.second.conv(y).sigmoid()


class OtherMethods(nn.Module):
    """Methods other than forward that read what forward reads."""

    def __init__(self):
        super().__init__()
        self.block = Block()
        self.head = nn.Linear(4, 3)
        self.head_norm = nn.BatchNorm1d(3)

    def forward(self, x, scale: float = 2.0):
        return self.head_norm(self.head(self.block(x).mean((2, 3)) * scale))

    @torch.jit.export
    def features(self, x):
        return self.block(x)


class MethodOfSubmodule(nn.Module):
    """A submodule with a method of its own for callers."""

    def __init__(self):
        super().__init__()
        self.encoder = Encoder()
        self.norm = nn.BatchNorm2d(4)

    def forward(self, x):
        return self.norm(self.encoder(x))


class Encoder(nn.Module):
    """A convolution, with a method for callers."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(4, 4, 1)

    def forward(self, x):
        return self.conv(x)

    @torch.jit.export
    def encode(self, x):
        return self.conv(x) + 1


class Helpers(nn.Module):
    """forward in two halves, each a method."""

    def __init__(self):
        super().__init__()
        self.block = Block()
        self.head = nn.Conv2d(4, 3, 1)
        self.head_norm = nn.BatchNorm2d(3)

    def forward_features(self, x):
        return torch.relu(self.block(x))

    def forward_head(self, x):
        return self.head_norm(self.head(x))

    def forward(self, x):
        return self.forward_head(self.forward_features(x))


class Written(nn.Module):
    """A scale that a method changes after loading."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 1)
        self.register_buffer("scale", torch.tensor([1.0, 2.0, 3.0, 4.0]).view(1, 4, 1, 1))
        self.norm = nn.BatchNorm2d(4)

    def forward(self, x):
        return self.norm(self.conv(x) * self.scale)

    @torch.jit.export
    def grow(self):
        self.scale.mul_(2.0)


class Collides(nn.Module):
    """The names that a new bias would like are taken."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Linear(4, 4, bias=False)
        self.norm = nn.BatchNorm1d(4)
        self.register_buffer("conv_bias", torch.ones(4))

    def forward(self, x):
        return torch.tanh(self.norm(self.conv(x))) * torch.sigmoid(self.conv_bias)


class Appends(nn.Module):
    """A list that grows, as in densely connected networks."""

    def __init__(self):
        super().__init__()
        self.first = nn.Conv2d(3, 4, 1)
        self.second = nn.Conv2d(4, 4, 1)
        self.norm = nn.BatchNorm2d(8)
        self.last = nn.Conv2d(8, 2, 1)

    def forward(self, x):
        parts = [self.first(x)]
        parts.append(self.second(parts[0].tanh()))
        return self.last(self.norm(torch.cat(parts, 1)))


class Branches(nn.Module):
    """A branch that only run time decides, with a convolution and a BatchNorm in either arm, and one behind."""

    def __init__(self):
        super().__init__()
        self.left = Block()
        self.right = Block()
        self.before = nn.Conv2d(4, 4, 1)
        self.norm = nn.BatchNorm2d(4)

    def forward(self, x):
        x = self.before(x)
        if bool(x.sum() > 0):  # noqa: SIM108 - a branch in TorchScript as well
            y = self.left(x)
        else:
            y = self.right(x)
        return self.norm(y)


class Halves(nn.Module):
    """A tensor in two halves, put together again."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 1)
        self.left = nn.BatchNorm2d(4)

    def forward(self, x):
        a, b = torch.chunk(self.conv(x), 2, dim=1)
        return torch.cat((self.left(a), b.tanh()), 1)


class Structured(nn.Module):
    """A dictionary of outputs."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 1)
        self.norm = nn.BatchNorm2d(4)

    def forward(self, x):
        y = self.norm(self.conv(x))
        return {"features": y, "pooled": y.mean((2, 3))}


class Layout(Enum):
    """How an image lies in memory, as libraries of models say it."""

    NCHW = "NCHW"
    NHWC = "NHWC"


class ChoosesByEnum(nn.Module):
    """A Conv and its BatchNorm behind a choice by a constant enumeration, and a size that it insists on."""

    layout: Layout

    def __init__(self):
        super().__init__()
        self.layout = Layout.NCHW
        self.conv = nn.Conv2d(3, 4, 3)
        self.norm = nn.BatchNorm2d(4)

    def forward(self, x):
        assert x.shape[2] == 8, f"the height is {x.shape[2]}"
        y = self.norm(self.conv(x))
        if self.layout != Layout.NCHW:
            y = torch.tanh(y)
        return y
