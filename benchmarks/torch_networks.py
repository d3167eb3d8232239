"""Networks for torch_formats.py: small ones, one per operator, and the architectures of timm and torchvision."""

from collections.abc import Callable

import torch
from torch import nn
from yolo_like import YoloLike

Network = tuple[nn.Module, torch.Tensor]

# Each has BatchNorms in places that differ: behind attention, before padding, on parallel branches, in 3-d.
ZOO = (
    "timm/test_resnet",
    "timm/mobilenetv3_small_050",
    "timm/regnetx_002",
    "timm/efficientvit_m0",
    "timm/levit_128s",
    "timm/visformer_tiny",
    "timm/inception_next_atto",
    "timm/fastvit_t8",
    "timm/repghostnet_050",
    "timm/resnetv2_18",
    "timm/xcit_nano_12_p8_224",
    "tv/densenet121",
    "tv/googlenet",
    "tv/shufflenet_v2_x0_5",
    "tv/r3d_18",
    "timm/mixnet_s",
    "tv/lraspp_mobilenet_v3_large",
    "tv/mobilenet_v2",
    "timm/ghostnetv2_100",
    "tv/deeplabv3_mobilenet_v3_large",
    "tv/efficientnet_v2_s",
    "timm/cspdarknet53",
    "timm/res2net50_26w_4s",
    "tv/mc3_18",
    "tv/r2plus1d_18",
    "tv/s3d",
    "tv/fcn_resnet50",
    "tv/ssdlite320_mobilenet_v3_large",
    "tv/retinanet_resnet50_fpn_v2",
)

_DECLARED: list[torch.library.Library] = []


def architecture(name: str) -> Network:
    """An architecture with random weights, and a sample."""
    torch.manual_seed(0)
    source, _, model = name.partition("/")
    _declare_operators()
    if source == "timm":
        import timm

        module = timm.create_model(model)
        return module, torch.randn(1, *module.default_cfg["input_size"])
    import torchvision.models

    if model in torchvision.models.list_models(module=torchvision.models.segmentation):
        network = torchvision.models.get_model(model, weights=None, weights_backbone=None)
        return Masks(network), torch.randn(1, 3, 224, 224)
    if model in torchvision.models.list_models(module=torchvision.models.detection):
        network = torchvision.models.get_model(model, weights=None, weights_backbone=None)
        return Detections(network), torch.randn(1, 3, 320, 320)
    if model in torchvision.models.list_models(module=torchvision.models.video):
        frames, side = (16, 224) if model == "s3d" else (8, 64)
        return torchvision.models.get_model(model, weights=None), torch.randn(1, 3, frames, side, side)
    module = torchvision.models.get_model(model, weights=None)
    if model == "googlenet":
        module.aux_logits, module.aux1, module.aux2 = False, None, None  # used in training only
    return module, torch.randn(1, 3, 224, 224)


def _declare_operators() -> None:
    """torchvision asks for compiled operators when it is imported; beside a CPU torch they may be absent."""
    if not _DECLARED and not hasattr(torch.ops.torchvision, "nms"):
        library = torch.library.Library("torchvision", "DEF")
        library.define("nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        library.define("qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        _DECLARED.append(library)


class Masks(nn.Module):
    """A segmentation network with the masks alone as its result, where torchvision's gives a dictionary."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """The masks."""
        masks: torch.Tensor = self.network(x)["out"]
        return masks


class Detections(nn.Module):
    """Backbone and head of a detection network, without resizing, anchors and suppression."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.backbone = network.backbone
        self.head = network.head

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Classes and boxes."""
        found = self.head(list(self.backbone(x).values()))
        return found["cls_logits"], found["bbox_regression"]


class Digits(nn.Module):
    """The network of the digits example."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 16, 3, padding=1, bias=False)
        self.conv_bn = nn.BatchNorm2d(16)
        self.depthwise = nn.Conv2d(16, 16, 3, padding=1, groups=16, bias=False)
        self.depthwise_bn = nn.BatchNorm2d(16)
        self.upsample = nn.ConvTranspose2d(16, 8, 2, stride=2)
        self.upsample_bn = nn.BatchNorm2d(8)
        self.hidden = nn.Linear(8 * 64, 32)
        self.hidden_bn = nn.BatchNorm1d(32)
        self.logits = nn.Linear(32, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = torch.relu(self.conv_bn(self.conv(x)))
        x = torch.relu(self.depthwise_bn(self.depthwise(x)))
        x = torch.max_pool2d(torch.relu(self.upsample_bn(self.upsample(x))), 2)
        return self.logits(torch.relu(self.hidden_bn(self.hidden(x.flatten(1)))))


class Twice(nn.Module):
    """One convolution called twice."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(4, 4, 3, padding=1)
        self.norm = nn.BatchNorm2d(4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.conv(torch.tanh(self.norm(self.conv(x))))


class Residual(nn.Module):
    """Two branches and their sum, a BatchNorm behind it and one before a convolution."""

    def __init__(self) -> None:
        super().__init__()
        self.left = nn.Conv2d(4, 4, 1)
        self.right = nn.Conv2d(4, 4, 3, padding=1)
        self.norm = nn.BatchNorm2d(4)
        self.last = nn.Conv2d(4, 4, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.last(self.norm(self.left(x) + self.right(x)))


class Halves(nn.Module):
    """Split, two branches, joined, and a BatchNorm behind."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(4, 8, 1)
        self.left = nn.Conv2d(4, 4, 3, padding=1, groups=4)
        self.norm = nn.BatchNorm2d(8)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        a, b = torch.chunk(self.conv(x), 2, dim=1)
        return torch.tanh(self.norm(torch.cat((self.left(a), b), 1)))


class Tokens(nn.Module):
    """A linear map over tokens, flattened before its BatchNorm, as in LeViT."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(6, 8, bias=False)
        self.norm = nn.BatchNorm1d(8)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.linear(x)
        return self.norm(y.flatten(0, 1)).reshape_as(y)


class Recurrent(nn.Module):
    """A BatchNorm before an LSTM."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(5)
        self.lstm = nn.LSTM(5, 4, batch_first=True)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y, _ = self.lstm(self.norm(x).transpose(1, 2))
        return y


def _chain(shape: tuple[int, ...], *modules: nn.Module) -> Callable[[], Network]:
    return lambda: (nn.Sequential(*modules), torch.randn(shape))


def _one(module: Callable[[], nn.Module], *shape: int) -> Callable[[], Network]:
    return lambda: (module(), torch.randn(shape))


_IMAGE = (2, 4, 8, 8)
SMALL: dict[str, Callable[[], Network]] = {
    "digits": _one(Digits, 2, 1, 8, 8),
    "conv1d": _chain((2, 4, 9), nn.Conv1d(4, 6, 3), nn.BatchNorm1d(6)),
    "conv2d": _chain(_IMAGE, nn.Conv2d(4, 6, 3), nn.BatchNorm2d(6), nn.ReLU()),
    "conv2d without bias": _chain(_IMAGE, nn.Conv2d(4, 6, 3, bias=False), nn.BatchNorm2d(6), nn.Sigmoid()),
    "conv2d grouped": _chain(_IMAGE, nn.Conv2d(4, 8, 3, groups=2), nn.BatchNorm2d(8)),
    "conv2d reflect": _chain(_IMAGE, nn.Conv2d(4, 4, 3, padding=1, padding_mode="reflect"), nn.BatchNorm2d(4)),
    "conv3d": _chain((1, 2, 4, 5, 5), nn.Conv3d(2, 4, 2), nn.BatchNorm3d(4)),
    "conv_transpose1d": _chain((2, 4, 5), nn.ConvTranspose1d(4, 6, 3), nn.BatchNorm1d(6)),
    "conv_transpose2d": _chain(_IMAGE, nn.ConvTranspose2d(4, 6, 3, stride=2), nn.BatchNorm2d(6)),
    "conv_transpose2d grouped": _chain(_IMAGE, nn.ConvTranspose2d(4, 6, 2, groups=2), nn.BatchNorm2d(6)),
    "conv_transpose2d square": _chain(_IMAGE, nn.ConvTranspose2d(4, 4, 2), nn.BatchNorm2d(4)),
    "linear": _chain((3, 4), nn.Linear(4, 6), nn.BatchNorm1d(6)),
    "linear, other axis": _chain((2, 4, 5), nn.Linear(5, 4), nn.BatchNorm1d(4)),
    "norm, conv": _chain(_IMAGE, nn.BatchNorm2d(4), nn.Conv2d(4, 6, 3)),
    "norm, padded conv": _chain(_IMAGE, nn.BatchNorm2d(4), nn.Conv2d(4, 6, 3, padding=1)),
    "norm, relu, conv": _chain(_IMAGE, nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 6, 3)),
    "norm, pool, linear": _chain(_IMAGE, nn.BatchNorm2d(4), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 3)),
    "conv, pool, norm": _chain(_IMAGE, nn.Conv2d(4, 6, 3), nn.AvgPool2d(2), nn.BatchNorm2d(6), nn.Tanh()),
    "conv, shuffle, norm": _chain(_IMAGE, nn.Conv2d(4, 8, 1), nn.PixelShuffle(2), nn.BatchNorm2d(2), nn.Tanh()),
    "conv, upsample, norm": _chain(_IMAGE, nn.Conv2d(4, 6, 1), nn.Upsample(scale_factor=2), nn.BatchNorm2d(6)),
    "layer norm, norm": _chain((2, 4, 6), nn.GroupNorm(2, 4), nn.BatchNorm1d(4), nn.Tanh()),
    "one conv called twice": _one(Twice, *_IMAGE),
    "residual": _one(Residual, *_IMAGE),
    "halves": _one(Halves, *_IMAGE),
    "yolo-like": _one(YoloLike, 1, 3, 64, 64),
    "tokens": _one(Tokens, 2, 3, 6),
    "lstm": _one(Recurrent, 2, 5, 7),
}
