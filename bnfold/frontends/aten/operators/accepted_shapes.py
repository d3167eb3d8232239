"""What shapes operators with weights accept: what a program says of its inputs, where nobody says what it is run on."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

import torch

Pattern: TypeAlias = tuple[int | str, ...]
"""A shape; a name stands for a size that is free."""

BATCH, FREE = "batch", "free"


@dataclass(frozen=True)
class Accepted:
    """What an operator accepts.

    Attributes:
        shapes: the likeliest first.
        are_all: whether it accepts no other ranks.
    """

    shapes: tuple[Pattern, ...]
    are_all: bool = True


@dataclass(frozen=True)
class Takes:
    """How an operator with a weight works on a tensor.

    Attributes:
        operand: the argument that is the tensor.
        weight: the argument that is the weight, or a list that begins with it.
        accepts: the shapes of the tensor, of the weight and the constants among the arguments.
    """

    operand: str
    weight: str
    accepts: Callable[[torch.Tensor, Mapping[str, Any]], Accepted]


def accepted_by_convolution(weight: torch.Tensor, arguments: Mapping[str, Any]) -> Accepted:
    """conv1d, conv2d, conv3d: with a batch axis or without."""
    return _with_or_without_batch(weight.shape[1] * int(arguments["groups"] or 1), weight.dim() - 2)


def accepted_by_transposed_convolution(weight: torch.Tensor, _: Mapping[str, Any]) -> Accepted:
    """conv_transpose1d, 2d, 3d: with a batch axis or without."""
    return _with_or_without_batch(weight.shape[0], weight.dim() - 2)


def accepted_by_either_convolution(weight: torch.Tensor, arguments: Mapping[str, Any]) -> Accepted:
    """Convolution and _convolution: unlike conv2d, they take no input without a batch axis."""
    accepts = accepted_by_transposed_convolution if arguments["transposed"] else accepted_by_convolution
    return Accepted(accepts(weight, arguments).shapes[:1])


def _with_or_without_batch(channels: int, places: int) -> Accepted:
    alone: Pattern = (channels, *(FREE,) * places)
    return Accepted(((BATCH, *alone), alone))


def accepted_by_linear(weight: torch.Tensor, _: Mapping[str, Any]) -> Accepted:
    """Any rank."""
    return _features_last(weight.shape[-1])


def accepted_by_matmul(weight: torch.Tensor, _: Mapping[str, Any]) -> Accepted:
    """Any rank, the weight on the right."""
    return _features_last(weight.shape[0])


def _features_last(features: int) -> Accepted:
    return Accepted(((BATCH, features), (BATCH, FREE, features)), are_all=False)


def accepted_by_mm(weight: torch.Tensor, _: Mapping[str, Any]) -> Accepted:
    """Mm and addmm: two axes."""
    return Accepted(((BATCH, weight.shape[0]),))


def accepted_by_embedding(_: torch.Tensor, __: Mapping[str, Any]) -> Accepted:
    """Indices of any rank."""
    return Accepted(((BATCH, FREE), (BATCH,)), are_all=False)


def accepted_by_norm_of_channels(weight: torch.Tensor, _: Mapping[str, Any]) -> Accepted:
    """Batch, instance and group norms: channels on axis 1, and any places behind."""
    alone = (BATCH, weight.numel())
    return Accepted(tuple((*alone, *(FREE,) * count) for count in (2, 1, 0, 3)), are_all=False)


def accepted_by_layer_norm(weight: torch.Tensor, _: Mapping[str, Any]) -> Accepted:
    """The axes of the weight last."""
    return Accepted(((BATCH, FREE, *weight.shape), (BATCH, *weight.shape)), are_all=False)


def accepted_by_recurrent(weight: torch.Tensor, _: Mapping[str, Any]) -> Accepted:
    """Features last, with a batch axis or without."""
    return Accepted(((BATCH, FREE, weight.shape[1]), (FREE, weight.shape[1])))
