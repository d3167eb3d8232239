"""What operators with weights take, and how operators that only move axes change a form, told backwards."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeAlias

import torch

from bnfold.frontends.aten.operators import operator_of
from bnfold.frontends.aten.row import Keeps
from bnfold.frontends.torchscript.ir import IrNode, IrValue

Axes: TypeAlias = tuple[int | str, ...]
"""A shape; a name stands for a size that is free."""
Step: TypeAlias = Callable[[Axes], Axes | None]
"""From the form of a result to that of the operand; None where no operand gives such a result."""

BATCH, LENGTH = "batch", "length"


@dataclass(frozen=True)
class Taken:
    """What an operator takes.

    Attributes:
        forms: the likeliest first.
        are_all: whether it takes no other ranks.
    """

    forms: tuple[Axes, ...]
    are_all: bool = True


@dataclass(frozen=True)
class Reader:
    """An operator with a weight.

    Attributes:
        operand: the place of the tensor among its inputs.
        weight: the place of the weight.
        takes: of the node and the weight.
    """

    operand: int
    weight: int
    takes: Callable[[IrNode, torch.Tensor], Taken]


def _convolution(node: IrNode, weight: torch.Tensor, *, groups: int, turned: bool = False) -> Taken:
    transposed = turned or ("_convolution" in node.kind() and bool(node.inputsAt(6).toIValue()))
    channels = weight.shape[0] if transposed else weight.shape[1] * int(node.inputsAt(groups).toIValue() or 1)
    alone: Axes = (channels, *(LENGTH,) * (weight.dim() - 2))
    # Unlike conv2d, the operator of traces takes no input without a batch axis.
    return Taken(((BATCH, *alone),) if "_convolution" in node.kind() else ((BATCH, *alone), alone))


def _linear(_: IrNode, weight: torch.Tensor) -> Taken:
    features = weight.shape[-1]
    return Taken(((BATCH, features), (BATCH, LENGTH, features)), are_all=False)


def _matmul(_: IrNode, weight: torch.Tensor) -> Taken:
    return Taken(((BATCH, weight.shape[0]), (BATCH, LENGTH, weight.shape[0])), are_all=False)


def _mm(_: IrNode, weight: torch.Tensor) -> Taken:
    return Taken(((BATCH, weight.shape[0]),))


def _embedding(_: IrNode, __: torch.Tensor) -> Taken:
    return Taken(((BATCH, LENGTH), (BATCH,)), are_all=False)


def _channels(_: IrNode, weight: torch.Tensor) -> Taken:
    alone = (BATCH, weight.numel())
    return Taken(tuple((*alone, *(LENGTH,) * count) for count in (2, 1, 0, 3)), are_all=False)


def _layer_norm(_: IrNode, weight: torch.Tensor) -> Taken:
    return Taken(((BATCH, LENGTH, *weight.shape), (BATCH, *weight.shape)), are_all=False)


def _recurrent(_: IrNode, weight: torch.Tensor) -> Taken:
    return Taken(((BATCH, LENGTH, weight.shape[1]), (LENGTH, weight.shape[1])))


READERS: Mapping[str, Reader] = {
    **{f"aten::conv{axes}d": Reader(0, 1, partial(_convolution, groups=6)) for axes in (1, 2, 3)},
    **{
        f"aten::conv_transpose{axes}d": Reader(0, 1, partial(_convolution, groups=6, turned=True)) for axes in (1, 2, 3)
    },
    "aten::_convolution": Reader(0, 1, partial(_convolution, groups=8)),
    "aten::linear": Reader(0, 1, _linear),
    "aten::matmul": Reader(0, 1, _matmul),
    "aten::mm": Reader(0, 1, _mm),
    "aten::addmm": Reader(1, 2, _mm),
    "aten::embedding": Reader(1, 0, _embedding),
    "aten::batch_norm": Reader(0, 3, _channels),
    "aten::instance_norm": Reader(0, 1, _channels),
    "aten::group_norm": Reader(0, 2, _channels),
    "aten::layer_norm": Reader(0, 2, _layer_norm),
    **{f"aten::{name}": Reader(0, 2, _recurrent) for name in ("lstm", "gru", "rnn_tanh", "rnn_relu")},
}

# With a number these keep the rank; with a tensor they may give more axes than they take.
_ARITHMETIC = frozenset(f"aten::{name}" for name in ("add", "div", "mul", "pow", "rsub", "sub"))
_LIKELY_KEEPS = frozenset(f"aten::{name}" for name in ("flatten", "mean", "reshape", "squeeze", "view"))


def step_of(node: IrNode) -> tuple[Step, bool] | None:
    """How a node changes the form of its first input, and whether that is all there is to it; None for no idea."""
    kind = node.kind().removesuffix("_")
    if Keeps.RANK | Keeps.CHANNELS in operator_of(kind).keeps:
        return _same, True
    made = _STEPS.get(kind)
    if made is not None:
        numbers = [_plain(value) for value in list(node.inputs())[1:]]
        return None if None in numbers[: made[1]] else (partial(made[0], numbers), True)
    if kind in _ARITHMETIC:
        return _same, node.inputsAt(1).type().kind() in ("FloatType", "IntType")
    return (_same, False) if kind in _LIKELY_KEEPS else None


def shared(count: int, axis: int, form: Axes) -> Axes | None:
    """One of `count` equal tensors that are put together along an axis."""
    if not -len(form) <= axis < len(form):
        return None
    size = form[axis]
    if isinstance(size, int) and size % count:
        return None
    parts = list(form)
    parts[axis] = size // count if isinstance(size, int) else size
    return tuple(parts)


def taken_out(numbers: list[Any], form: Axes) -> Axes | None:
    """Before an axis of length 1 was put in: unsqueeze, and stack."""
    axis = numbers[0] + len(form) if numbers[0] < 0 else numbers[0]
    if not 0 <= axis < len(form) or form[axis] not in (1, BATCH, LENGTH):
        return None
    return form[:axis] + form[axis + 1 :]


def _put_in(numbers: list[Any], form: Axes) -> Axes:
    axis = numbers[0] + len(form) + 1 if numbers[0] < 0 else numbers[0]
    return (*form[:axis], LENGTH, *form[axis:])


def _permuted(numbers: list[Any], form: Axes) -> Axes | None:
    order = [axis % len(form) for axis in numbers[0]]
    if sorted(order) != list(range(len(form))):
        return None
    return tuple(form[order.index(axis)] for axis in range(len(form)))


def _swapped(numbers: list[Any], form: Axes) -> Axes | None:
    first, second = numbers[:2]
    if not all(-len(form) <= axis < len(form) for axis in (first, second)):
        return None
    axes = list(form)
    axes[first], axes[second] = axes[second], axes[first]
    return tuple(axes)


def _same(form: Axes) -> Axes:
    return form


def _plain(value: IrValue) -> Any:  # noqa: ANN401 - a constant
    held = value.toIValue()
    if held is None and value.node().kind() == "prim::ListConstruct":
        parts = [part.toIValue() for part in value.node().inputs()]
        return None if None in parts else parts
    return held


_STEPS: Mapping[str, tuple[Callable[[list[Any], Axes], Axes | None], int]] = {
    "aten::unsqueeze": (taken_out, 1),
    "aten::select": (_put_in, 1),
    "aten::permute": (_permuted, 1),
    "aten::transpose": (_swapped, 2),
}
