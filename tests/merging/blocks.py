"""Blocks that train with parallel branches, built as their papers say, with wide statistics."""

import torch
from torch import nn


def randomise(module: nn.Module, seed: int = 0) -> nn.Module:
    """Give every BatchNorm wide statistics, a negative scale and one of zero included; for inference."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for norm in module.modules():
            if not isinstance(norm, nn.modules.batchnorm._BatchNorm):
                continue
            shape = norm.running_mean.shape
            norm.running_mean.copy_(torch.randn(shape, generator=generator) * 0.3)
            norm.running_var.copy_(torch.rand(shape, generator=generator) + 0.5)
            norm.weight.copy_(1 + 0.3 * torch.randn(shape, generator=generator))
            norm.bias.copy_(0.3 * torch.randn(shape, generator=generator))
            norm.weight[0] = 0
            norm.weight[1] *= -1
    return module.eval()


def conv_norm(inputs: int, outputs: int, kernel, **options) -> nn.Sequential:
    """Conv without bias, BatchNorm."""
    return nn.Sequential(nn.Conv2d(inputs, outputs, kernel, bias=False, **options), nn.BatchNorm2d(outputs))


class RepVGG(nn.Module):
    """3x3 + 1x1 + identity, each with a BatchNorm, then ReLU: Ding et al. 2021, https://arxiv.org/abs/2101.03697.

    YOLOv6 (https://arxiv.org/abs/2209.02976) is built of the same block.
    """

    def __init__(self, inputs: int, outputs: int, stride: int = 1, groups: int = 1, activation: type = nn.ReLU) -> None:
        super().__init__()
        self.wide = conv_norm(inputs, outputs, 3, stride=stride, padding=1, groups=groups)
        self.narrow = conv_norm(inputs, outputs, 1, stride=stride, groups=groups)
        self.same = nn.BatchNorm2d(inputs) if inputs == outputs and stride == 1 else None
        self.activation = activation()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        total = self.wide(x) + self.narrow(x)
        if self.same is not None:
            total = total + self.same(x)
        return self.activation(total)


class MobileOne(nn.Module):
    """Several 3x3, 1x1 and the identity, depthwise, then several 1x1: Vasu et al. 2022, https://arxiv.org/abs/2206.04040.

    Sums are made in place, as in the authors' code.
    """

    def __init__(self, inputs: int, outputs: int, stride: int = 1, branches: int = 3) -> None:
        super().__init__()
        self.deep = nn.ModuleList(
            conv_norm(inputs, inputs, 3, stride=stride, padding=1, groups=inputs) for _ in range(branches)
        )
        self.scale = conv_norm(inputs, inputs, 1, stride=stride, groups=inputs)
        self.same = nn.BatchNorm2d(inputs) if stride == 1 else None
        self.point = nn.ModuleList(conv_norm(inputs, outputs, 1) for _ in range(branches))
        self.point_same = nn.BatchNorm2d(inputs) if inputs == outputs else None

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        total = self.scale(x)
        if self.same is not None:
            total = total + self.same(x)
        for branch in self.deep:
            total += branch(x)
        x = torch.relu(total)
        total = 0 if self.point_same is None else self.point_same(x)
        for branch in self.point:
            total = total + branch(x)
        return torch.relu(total)


class DiverseBranch(nn.Module):
    """3x3, 1x1, 1x1-3x3 and 1x1-average: Ding et al. 2021, https://arxiv.org/abs/2103.13425.

    The first of two operators in a row pads its input with zeros and the second not at all, which is what the authors'
    padding with the BatchNorm's constant amounts to.
    """

    def __init__(self, inputs: int, outputs: int, stride: int = 1) -> None:
        super().__init__()
        self.wide = conv_norm(inputs, outputs, 3, stride=stride, padding=1)
        self.narrow = conv_norm(inputs, outputs, 1, stride=stride)
        self.row = nn.Sequential(
            *conv_norm(inputs, inputs, 1, padding=1),
            *conv_norm(inputs, outputs, 3, stride=stride),
        )
        self.average = nn.Sequential(
            *conv_norm(inputs, outputs, 1, padding=1), nn.AvgPool2d(3, stride), nn.BatchNorm2d(outputs)
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.relu(self.wide(x) + self.narrow(x) + self.row(x) + self.average(x))


class AsymmetricConv(nn.Module):
    """3x3 + 1x3 + 3x1, each with a BatchNorm: Ding et al. 2019, https://arxiv.org/abs/1908.03930."""

    def __init__(self, inputs: int, outputs: int, stride: int = 1) -> None:
        super().__init__()
        self.square = conv_norm(inputs, outputs, 3, stride=stride, padding=1)
        self.flat = conv_norm(inputs, outputs, (1, 3), stride=stride, padding=(0, 1))
        self.tall = conv_norm(inputs, outputs, (3, 1), stride=stride, padding=(1, 0))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.relu(self.square(x) + self.flat(x) + self.tall(x))


class RepConv(RepVGG):
    """The planned re-parameterised convolution of YOLOv7, with SiLU: https://arxiv.org/abs/2207.02696."""

    def __init__(self, inputs: int, outputs: int, stride: int = 1) -> None:
        super().__init__(inputs, outputs, stride, activation=nn.SiLU)


class RepViT(nn.Module):
    """BatchNorm(depthwise 3x3 with its BatchNorm + depthwise 1x1 + x): Wang et al. 2023, https://arxiv.org/abs/2307.09283."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.wide = conv_norm(channels, channels, 3, padding=1, groups=channels)
        self.narrow = nn.Conv2d(channels, channels, 1, groups=channels)
        self.norm = nn.BatchNorm2d(channels)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.norm((self.wide(x) + self.narrow(x)) + x)


class Collapsible(nn.Module):
    """3x3 to many channels and 1x1 back, around a short residual: Bhardwaj et al. 2021, https://arxiv.org/abs/2103.09404."""

    def __init__(self, channels: int, middle: int = 64) -> None:
        super().__init__()
        self.expand = nn.Conv2d(channels, middle, 3, padding=1, bias=False)
        self.project = nn.Conv2d(middle, channels, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.relu(self.project(self.expand(x)) + x)


class TwoHeads(nn.Module):
    """Two classifiers, each with a BatchNorm, averaged: Graham et al. 2021, https://arxiv.org/abs/2104.01136."""

    def __init__(self, channels: int, classes: int = 10) -> None:
        super().__init__()
        self.heads = nn.ModuleList(
            nn.Sequential(nn.BatchNorm1d(channels), nn.Linear(channels, classes)) for _ in range(2)
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = x.mean((2, 3))
        return (self.heads[0](x) + self.heads[1](x)) / 2


BLOCKS = {
    "RepVGG": lambda: RepVGG(6, 6),
    "RepVGG with a stride": lambda: RepVGG(6, 8, stride=2),
    "RepVGG in groups": lambda: RepVGG(6, 6, groups=3),
    "YOLOv7": lambda: RepConv(6, 6),
    "MobileOne": lambda: MobileOne(6, 6),
    "MobileOne with a stride": lambda: MobileOne(6, 8, stride=2),
    "DBB": lambda: DiverseBranch(6, 8),
    "DBB with a stride": lambda: DiverseBranch(6, 8, stride=2),
    "ACNet": lambda: AsymmetricConv(6, 8),
    "RepViT": lambda: RepViT(6),
    "SESR": lambda: Collapsible(6),
    "two heads": lambda: TwoHeads(6),
}
"""Small ones, by name; each takes (N, 6, H, W)."""

OPERATORS_LEFT = {
    "RepVGG": {"conv": 1},
    "RepVGG with a stride": {"conv": 1},
    "RepVGG in groups": {"conv": 1},
    "YOLOv7": {"conv": 1},
    "MobileOne": {"conv": 2},
    "MobileOne with a stride": {"conv": 2},
    "DBB": {"conv": 1},
    "DBB with a stride": {"conv": 1},
    "ACNet": {"conv": 1},
    "RepViT": {"conv": 1},
    "SESR": {"conv": 1},
    "two heads": {"linear": 1},
}
"""How many operators with weights each becomes, and no addition, BatchNorm or pooling beside them."""
