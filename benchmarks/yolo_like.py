"""A small detection network of the kind of YOLO: Conv-BN-SiLU, split stages, pyramid pooling, three scales.

Every activation works in place, stages split their channels and join all that they made of them, two scales meet where
the deeper one is resampled: what is hard about the real ones, without their size. Its parts bear the names that people
know: Conv, Bottleneck, C2f, SPPF.
"""

import torch
from torch import nn


class Conv(nn.Module):
    """Convolution, BatchNorm, SiLU in place."""

    def __init__(self, inputs: int, outputs: int, kernel: int = 1, stride: int = 1) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, bias=False)
        self.bn = nn.BatchNorm2d(outputs)
        self.act = nn.SiLU(inplace=True)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y: torch.Tensor = self.act(self.bn(self.conv(x)))
        return y


class Bottleneck(nn.Module):
    """Two convolutions beside a shortcut."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first = Conv(channels, channels, 3)
        self.second = Conv(channels, channels, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.second(self.first(x))


class C2f(nn.Module):
    """Half of the channels goes by, the other half through bottlenecks; all that they make is joined."""

    def __init__(self, inputs: int, outputs: int, count: int) -> None:
        super().__init__()
        half = outputs // 2
        self.enter = Conv(inputs, outputs)
        self.leave = Conv((2 + count) * half, outputs)
        self.stages = nn.ModuleList(Bottleneck(half) for _ in range(count))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        parts = list(self.enter(x).chunk(2, 1))
        for stage in self.stages:
            parts.append(stage(parts[-1]))
        y: torch.Tensor = self.leave(torch.cat(parts, 1))
        return y


class SPPF(nn.Module):
    """A pyramid of poolings, each of the one before."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.enter = Conv(channels, channels // 2)
        self.leave = Conv(2 * channels, channels)
        self.pool = nn.MaxPool2d(5, stride=1, padding=2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.enter(x)
        first = self.pool(x)
        second = self.pool(first)
        y: torch.Tensor = self.leave(torch.cat((x, first, second, self.pool(second)), 1))
        return y


class Scale(nn.Module):
    """Boxes and classes of one scale."""

    def __init__(self, channels: int, outputs: int) -> None:
        super().__init__()
        self.boxes = nn.Sequential(Conv(channels, channels, 3), nn.Conv2d(channels, 16, 1))
        self.classes = nn.Sequential(Conv(channels, channels, 3), nn.Conv2d(channels, outputs, 1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.cat((self.boxes(x), self.classes(x)), 1).flatten(2)


class YoloLike(nn.Module):
    """Backbone, a way up and a way down the scales, one head for each."""

    def __init__(self, width: int = 8, outputs: int = 5) -> None:
        super().__init__()
        one, two, three = width, 2 * width, 4 * width
        self.stem = nn.Sequential(Conv(3, one, 3, 2), Conv(one, one, 3, 2), C2f(one, one, 1))
        self.down = nn.Sequential(Conv(one, two, 3, 2), C2f(two, two, 2))
        self.deep = nn.Sequential(Conv(two, three, 3, 2), C2f(three, three, 1), SPPF(three))
        self.up = nn.Upsample(scale_factor=2.0, mode="nearest")
        self.join_two = C2f(two + three, two, 1)
        self.join_one = C2f(one + two, one, 1)
        self.back_two = Conv(one, one, 3, 2)
        self.again_two = C2f(one + two, two, 1)
        self.back_three = Conv(two, two, 3, 2)
        self.again_three = C2f(two + three, three, 1)
        self.head_one, self.head_two, self.head_three = Scale(one, outputs), Scale(two, outputs), Scale(three, outputs)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        one = self.stem(x)
        two = self.down(one)
        three = self.deep(two)
        two = self.join_two(torch.cat((self.up(three), two), 1))
        one = self.join_one(torch.cat((self.up(two), one), 1))
        two = self.again_two(torch.cat((self.back_two(one), two), 1))
        three = self.again_three(torch.cat((self.back_three(two), three), 1))
        return torch.cat((self.head_one(one), self.head_two(two), self.head_three(three)), 2)
