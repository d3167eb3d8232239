"""Parameters that folding has changed: exact, and rounded once to the type that is stored."""

from collections.abc import Callable
from functools import cached_property

import numpy as np

from bnfold.affine import Array
from bnfold.errors import InternalError
from bnfold.frontends.common.precision import AnyArray, dead_channels, judge_rows, round_parameter
from bnfold.frontends.common.rounded_weight import Layout, RoundedWeight
from bnfold.refusal import Reason, Refusal
from bnfold.semantics import Contraction, Form, Recurrent
from bnfold.weight import Weight

__all__ = [
    "Layout",
    "NewParameter",
    "bias_along_output",
    "bias_per_channel",
    "new_operand",
    "new_parameter",
    "new_weight",
    "without_leading_ones",
]


class NewParameter:
    """A parameter that folding has changed.

    Args:
        exact: float64, before rounding; or what makes it, since few who hold the parameter ask for that.
        stored: the same in the type that is stored, or what makes it.
        weight: the same in the layout of a meaning, and not multiplied out, if it is a weight.

    Attributes:
        stored: the same.
        weight: likewise.
        dead_channels: how many output channels of a weight became 0, because their bias alone was left of them.
    """

    def __init__(
        self,
        exact: Array | Callable[[], Array],
        stored: AnyArray | RoundedWeight,
        dead_channels: int = 0,
        weight: Weight | None = None,
    ) -> None:
        self._exact = exact
        self.stored = stored
        self.dead_channels = dead_channels
        self.weight = weight

    @property
    def rounded(self) -> AnyArray:
        """In the type that is stored. Those of a weight are made anew each time."""
        return self.stored.array() if isinstance(self.stored, RoundedWeight) else self.stored

    @cached_property
    def exact(self) -> Array:
        """Float64, before rounding."""
        return self._exact() if callable(self._exact) else self._exact


def new_parameter(exact: Array, dtype: np.dtype[np.generic]) -> NewParameter | Refusal:
    """These values in this type; OVERFLOW where it cannot hold them."""
    rounded = round_parameter(exact, dtype)
    return rounded if isinstance(rounded, Refusal) else NewParameter(exact, rounded)


def new_weight(meaning: Contraction | Recurrent, dtype: np.dtype[np.generic], layout: Layout) -> NewParameter | Refusal:
    """The weight of a meaning in this type and layout; OVERFLOW or UNDERFLOW where the type cannot hold it."""
    weight = meaning.weight if isinstance(meaning, Contraction) else Weight(meaning.weight)
    bias = None if meaning.bias is None else meaning.bias.reshape(-1)
    # A Gemm may have another bias in each row.
    fits = bias is not None and bias.size in (1, weight.channels)
    dead = judge_rows(weight, dtype)
    if isinstance(dead, Refusal) and dead.reason is Reason.UNDERFLOW:
        dead = judge_rows(weight, dtype, dead_channels(weight.array, bias if fits else None, dtype))
    if isinstance(dead, Refusal):
        return dead
    stored = RoundedWeight(weight, dtype, dead, layout)
    return NewParameter(lambda: np.asarray(layout(weight.array), np.float64), stored, int(dead.sum()), weight)


def new_operand(exact: Array, dtype: np.dtype[np.generic], form: Form) -> NewParameter | Refusal:
    """What an operator of this form scales or shifts by, in this type; OVERFLOW where it cannot hold it."""
    parameter = new_parameter(exact, dtype)
    if not isinstance(parameter, Refusal) and np.all(parameter.rounded == (1 if form is Form.SCALE else 0)):
        # Nothing but rounding keeps it from being the identity: let the next pass see that, and remove it.
        return NewParameter(parameter.rounded.astype(np.float64), parameter.rounded)
    return parameter


def without_leading_ones(values: Array, rank: int) -> Array:
    """The same values with as few axes as this rank, if those in front have length 1."""
    while values.ndim > rank and values.shape[0] == 1:
        values = values[0]
    return values


def bias_per_channel(meaning: Contraction) -> Array:
    """The bias as a vector over the output channels."""
    if meaning.bias is None:
        raise InternalError("a bias was asked for that is not there")
    return np.broadcast_to(meaning.bias.reshape(-1), (meaning.output_channels,))


def bias_along_output(meaning: Contraction) -> Array:
    """The bias as an addition behind the node takes it: over the output axis, a one for each axis after that."""
    return bias_per_channel(meaning).reshape(-1, *(1,) * (meaning.output_rank - meaning.output_axis - 1))
