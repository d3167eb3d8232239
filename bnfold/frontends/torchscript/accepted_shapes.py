"""What operators with weights work on, and how operators that only move axes change a shape, told backwards."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeAlias

import torch

from bnfold.frontends.aten.operators.accepted_shapes import BATCH, FREE, Accepted, Pattern, Takes
from bnfold.frontends.aten.operators.row import Keeps
from bnfold.frontends.aten.operators.table import operator_of
from bnfold.frontends.torchscript.ir import IrNode, IrValue

Inverse: TypeAlias = Callable[[Pattern], Pattern | None]
"""From the shape of a result to that of the operand; None where no operand gives such a result."""


@dataclass(frozen=True)
class WeightedCall:
    """A call of an operator with a weight in a graph.

    Attributes:
        operand: the tensor that it works on.
        weight: as the graph has it.
    """

    operand: IrValue
    weight: IrValue
    _takes: Takes
    _arguments: Mapping[str, Any]

    def accepts(self, weight: torch.Tensor) -> Accepted:
        """What the operand may look like."""
        return self._takes.accepts(weight, self._arguments)


def weighted_call(node: IrNode) -> WeightedCall | None:
    """What a node with a weight works on; None where it has none."""
    takes = operator_of(node.kind()).takes
    if takes is None:
        return None
    names = [argument.name for argument in torch._C.parse_schema(node.schema()).arguments]
    arguments = dict(zip(names, node.inputs(), strict=True))
    if takes.operand not in arguments or takes.weight not in arguments:
        return None
    constants = {name: plain_value(value) for name, value in arguments.items()}
    return WeightedCall(arguments[takes.operand], arguments[takes.weight], takes, constants)


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
        numbers = [plain_value(value) for value in list(node.inputs())[1:]]
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


def plain_value(value: IrValue) -> Any:  # noqa: ANN401 - a constant
    """What a value is, where it is a constant or a list of constants; None where it is not."""
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
