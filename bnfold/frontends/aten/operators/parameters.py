"""New parameters for the arguments of an operator, rounded once and checked."""

from collections.abc import Callable, Mapping

import torch

from bnfold.affine import Array
from bnfold.errors import InternalError
from bnfold.frontends.aten.constants import numpy_dtype
from bnfold.frontends.aten.edit import AtenEdit
from bnfold.frontends.aten.node import Slot
from bnfold.frontends.aten.operators.call import AtenCall
from bnfold.frontends.common.parameters import Layout, NewParameter, bias_per_channel, new_parameter, new_weight
from bnfold.refusal import Refusal
from bnfold.semantics import Contraction


def edit_of(
    call: AtenCall,
    parameters: Mapping[Slot, NewParameter | Refusal | None],
    *,
    numbers: Mapping[str, float] | None = None,
    op: str = "",
    moved: Mapping[str, str] | None = None,
    added: Mapping[str, NewParameter] | None = None,
    bias_behind: NewParameter | Refusal | None = None,
) -> AtenEdit | Refusal:
    """An edit of the node in hand; the first refusal of a parameter where there is one.

    Args:
        call: the node.
        parameters: new values by slot.
        numbers: as in `AtenEdit`.
        op: as in `AtenEdit`.
        moved: as in `AtenEdit`.
        added: as in `AtenEdit`.
        bias_behind: as in `AtenEdit`.
    """
    new: dict[Slot, NewParameter] = {}
    for slot, parameter in parameters.items():
        if isinstance(parameter, Refusal):
            return parameter
        if parameter is not None:
            new[slot] = parameter
    if isinstance(bias_behind, Refusal):
        return bias_behind
    return AtenEdit(call.node, new, numbers or {}, op, moved or {}, added or {}, bias_behind)


def weight_of(call: AtenCall, name: str, meaning: Contraction, layout: Layout) -> NewParameter | Refusal:
    """The weight of a contraction in this layout, rounded to the type of the argument `name`.

    Returns:
        The parameter; OVERFLOW or UNDERFLOW where the type cannot hold it.
    """
    return new_weight(meaning, numpy_dtype(call.constants.require(call.value(name)).dtype), layout)


def parameter_like(call: AtenCall, like: str, exact: Array) -> NewParameter | Refusal:
    """A parameter, rounded to the type of the argument `like`; OVERFLOW where that cannot hold it."""
    return rounded(exact, call.constants.require(call.value(like)).dtype)


def rounded(exact: Array, dtype: torch.dtype) -> NewParameter | Refusal:
    """A parameter, rounded to a type; OVERFLOW where that cannot hold it."""
    return new_parameter(exact, numpy_dtype(dtype))


def type_of(call: AtenCall, *names: str) -> torch.dtype:
    """The type of the first of these arguments that is there, else that of the result."""
    for name in names:
        if call.has(name):
            return call.constants.require(call.value(name)).dtype
    result = call.node.outputs[0]
    if result is None or result.dtype is None:
        raise InternalError(f"the type of what {call.node.label!r} makes is not known")
    return result.dtype


def encode_with_bias(layout: Layout) -> Callable[[AtenCall, Contraction], AtenEdit | Refusal]:
    """The encoder of an operator that stores its weight in this layout, and has a place for a bias, filled or not."""

    def encode(call: AtenCall, meaning: Contraction) -> AtenEdit | Refusal:
        parameters: dict[Slot, NewParameter | Refusal | None] = {
            ("weight", None): weight_of(call, "weight", meaning, layout)
        }
        if meaning.bias is not None:
            like = "bias" if call.has("bias") else "weight"
            parameters["bias", None] = parameter_like(call, like, bias_per_channel(meaning))
        return edit_of(call, parameters)

    return encode
