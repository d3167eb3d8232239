"""Convolutions and products whose weight is computed at run time: what is known of them, and their new bias."""

from bnfold.frontends.aten.edit import AtenEdit
from bnfold.frontends.aten.node import AtenValue, Slot
from bnfold.frontends.aten.operators.call import AtenCall
from bnfold.frontends.aten.operators.parameters import edit_of, rounded, type_of
from bnfold.frontends.common.parameters import NewParameter
from bnfold.frontends.common.undecodable import Undecodable
from bnfold.refusal import Reason, Refusal
from bnfold.semantics import RuntimeContraction

_MULTIPLIES = ("aten::div", "aten::mul")


def read_runtime_weight(call: AtenCall, axis: int) -> RuntimeContraction:
    """An operator whose weight is computed, with the outputs on its first axis.

    Args:
        call: of the operator.
        axis: of what it makes that holds the channels.
    """
    call.require_float(call.value("input"), call.value("weight"))
    weight, shape = call.value("weight"), call.shape("weight")
    bias = call.optional_parameter("bias", dynamic=Reason.DYNAMIC_BIAS)
    why = _seen_of(weight)
    if not 0 <= axis < len(call.shape("input")) or len(shape) < 2:
        raise Undecodable(Reason.DYNAMIC_WEIGHT, why)
    length = shape[0] if bias is None or bias.size == 1 else bias.size
    channels = length if isinstance(length, int) else None
    slot = call.source("weight") if _is_multiplied(weight) else None
    return RuntimeContraction(bias, channels, len(call.shape("input")), axis, slot, len(shape), 0, why)


def _seen_of(weight: AtenValue) -> str:
    node = weight.producer
    made = "is an input of the program" if node is None else f"is computed by {node.label!r} ({node.op})"
    return f"{weight.name!r} {made}"


def _is_multiplied(value: AtenValue) -> bool:
    """Whether a tensor is a product of others, number by number."""
    return value.producer is not None and value.producer.operator.functional in _MULTIPLIES


def encode_runtime_weight(call: AtenCall, meaning: RuntimeContraction) -> AtenEdit | Refusal:
    """The bias takes the new values."""
    parameters: dict[Slot, NewParameter | Refusal | None] = {}
    if meaning.bias is not None:
        parameters["bias", None] = rounded(meaning.bias, type_of(call, "bias"))
    return edit_of(call, parameters)
