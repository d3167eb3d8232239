"""What shapes operators with weights accept, and how operators that only move axes change a shape, told backwards."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeAlias

import torch

from bnfold.frontends.aten.operators import operator_of
from bnfold.frontends.aten.row import Keeps
from bnfold.frontends.torchscript.ir import IrNode, IrValue

Pattern: TypeAlias = tuple[int | str, ...]
"""A shape; a name stands for a size that is free."""
Inverse: TypeAlias = Callable[[Pattern], Pattern | None]
"""From the shape of a result to that of the operand; None where no operand gives such a result."""

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
class Weighted:
    """An operator with a weight.

    Attributes:
        operand: the place of the tensor among its inputs.
        weight: the place of the weight.
        accepts: of the node and the weight.
    """

    operand: int
    weight: int
    accepts: Callable[[IrNode, torch.Tensor], Accepted]


def _convolution(node: IrNode, weight: torch.Tensor, *, groups: int, turned: bool = False) -> Accepted:
    transposed = turned or ("_convolution" in node.kind() and bool(node.inputsAt(6).toIValue()))
    channels = weight.shape[0] if transposed else weight.shape[1] * int(node.inputsAt(groups).toIValue() or 1)
    alone: Pattern = (channels, *(FREE,) * (weight.dim() - 2))
    # Unlike conv2d, the operator of traces takes no input without a batch axis.
    return Accepted(((BATCH, *alone),) if "_convolution" in node.kind() else ((BATCH, *alone), alone))


def _linear(_: IrNode, weight: torch.Tensor) -> Accepted:
    features = weight.shape[-1]
    return Accepted(((BATCH, features), (BATCH, FREE, features)), are_all=False)


def _matmul(_: IrNode, weight: torch.Tensor) -> Accepted:
    return Accepted(((BATCH, weight.shape[0]), (BATCH, FREE, weight.shape[0])), are_all=False)


def _mm(_: IrNode, weight: torch.Tensor) -> Accepted:
    return Accepted(((BATCH, weight.shape[0]),))


def _embedding(_: IrNode, __: torch.Tensor) -> Accepted:
    return Accepted(((BATCH, FREE), (BATCH,)), are_all=False)


def _channels(_: IrNode, weight: torch.Tensor) -> Accepted:
    alone = (BATCH, weight.numel())
    return Accepted(tuple((*alone, *(FREE,) * count) for count in (2, 1, 0, 3)), are_all=False)


def _layer_norm(_: IrNode, weight: torch.Tensor) -> Accepted:
    return Accepted(((BATCH, FREE, *weight.shape), (BATCH, *weight.shape)), are_all=False)


def _recurrent(_: IrNode, weight: torch.Tensor) -> Accepted:
    return Accepted(((BATCH, FREE, weight.shape[1]), (FREE, weight.shape[1])))


WEIGHTED: Mapping[str, Weighted] = {
    **{f"aten::conv{n}d": Weighted(0, 1, partial(_convolution, groups=6)) for n in (1, 2, 3)},
    **{f"aten::conv_transpose{n}d": Weighted(0, 1, partial(_convolution, groups=6, turned=True)) for n in (1, 2, 3)},
    "aten::_convolution": Weighted(0, 1, partial(_convolution, groups=8)),
    "aten::linear": Weighted(0, 1, _linear),
    "aten::matmul": Weighted(0, 1, _matmul),
    "aten::mm": Weighted(0, 1, _mm),
    "aten::addmm": Weighted(1, 2, _mm),
    "aten::embedding": Weighted(1, 0, _embedding),
    "aten::batch_norm": Weighted(0, 3, _channels),
    "aten::instance_norm": Weighted(0, 1, _channels),
    "aten::group_norm": Weighted(0, 2, _channels),
    "aten::layer_norm": Weighted(0, 2, _layer_norm),
    **{f"aten::{name}": Weighted(0, 2, _recurrent) for name in ("lstm", "gru", "rnn_tanh", "rnn_relu")},
}

# With a number these keep the rank; with a tensor they may give more axes than they take.
_ARITHMETIC = frozenset(f"aten::{name}" for name in ("add", "div", "mul", "pow", "rsub", "sub"))
_LIKELY_KEEPS = frozenset(f"aten::{name}" for name in ("flatten", "mean", "reshape", "squeeze", "view"))


def inverse_of(node: IrNode) -> tuple[Inverse, bool] | None:
    """How a node changes the shape of its first input, and whether that is all there is to it; None for no idea."""
    kind = node.kind().removesuffix("_")
    if Keeps.RANK | Keeps.CHANNELS in operator_of(kind).keeps:
        return _same, True
    made = _INVERSES.get(kind)
    if made is not None:
        numbers = [_plain(value) for value in list(node.inputs())[1:]]
        return None if None in numbers[: made[1]] else (partial(made[0], numbers), True)
    if kind in _ARITHMETIC:
        return _same, node.inputsAt(1).type().kind() in ("FloatType", "IntType")
    return (_same, False) if kind in _LIKELY_KEEPS else None


def one_of(count: int, axis: int, shape: Pattern) -> Pattern | None:
    """One of `count` equal tensors that are put together along an axis."""
    if not -len(shape) <= axis < len(shape):
        return None
    size = shape[axis]
    if isinstance(size, int) and size % count:
        return None
    parts = list(shape)
    parts[axis] = size // count if isinstance(size, int) else size
    return tuple(parts)


def taken_out(numbers: list[Any], shape: Pattern) -> Pattern | None:
    """Before an axis of length 1 was put in: unsqueeze, and stack."""
    axis = numbers[0] + len(shape) if numbers[0] < 0 else numbers[0]
    if not 0 <= axis < len(shape) or shape[axis] not in (1, BATCH, FREE):
        return None
    return shape[:axis] + shape[axis + 1 :]


def _put_in(numbers: list[Any], shape: Pattern) -> Pattern:
    axis = numbers[0] + len(shape) + 1 if numbers[0] < 0 else numbers[0]
    return (*shape[:axis], FREE, *shape[axis:])


def _permuted(numbers: list[Any], shape: Pattern) -> Pattern | None:
    order = [axis % len(shape) for axis in numbers[0]]
    if sorted(order) != list(range(len(shape))):
        return None
    return tuple(shape[order.index(axis)] for axis in range(len(shape)))


def _swapped(numbers: list[Any], shape: Pattern) -> Pattern | None:
    first, second = numbers[:2]
    if not all(-len(shape) <= axis < len(shape) for axis in (first, second)):
        return None
    axes = list(shape)
    axes[first], axes[second] = axes[second], axes[first]
    return tuple(axes)


def _same(shape: Pattern) -> Pattern:
    return shape


def _plain(value: IrValue) -> Any:  # noqa: ANN401 - a constant
    held = value.toIValue()
    if held is None and value.node().kind() == "prim::ListConstruct":
        parts = [part.toIValue() for part in value.node().inputs()]
        return None if None in parts else parts
    return held


_INVERSES: Mapping[str, tuple[Callable[[list[Any], Pattern], Pattern | None], int]] = {
    "aten::unsqueeze": (taken_out, 1),
    "aten::select": (_put_in, 1),
    "aten::permute": (_permuted, 1),
    "aten::transpose": (_swapped, 2),
}
