"""Convolutions and products whose weight is computed at run time: what is known of them, and their new bias."""

from onnx import TensorProto
from onnx.helper import tensor_dtype_to_np_dtype

from bnfold.affine import Array
from bnfold.frontends.common.parameters import new_parameter
from bnfold.frontends.common.undecodable import Undecodable
from bnfold.frontends.onnx.edit import OnnxEdit
from bnfold.frontends.onnx.graph import OnnxValue
from bnfold.frontends.onnx.operators.context import OnnxContext
from bnfold.frontends.onnx.operators.parameters import edit_of, parameter_for
from bnfold.refusal import Reason, Refusal
from bnfold.semantics import RuntimeContraction

_WEIGHT, _BIAS = 1, 2
# Between what modulates a weight and its reader there are a Reshape and a Transpose, if anything.
_LONGEST_CHAIN = 10


def read_runtime_weight(
    context: OnnxContext,
    stop: Undecodable,
    *,
    bias: Array | None,
    weight_axis: int,
    groups: int = 1,
) -> RuntimeContraction:
    """An operator whose weight at input 1 is computed, and whose channels are on axis 1 of what it makes.

    Args:
        context: the operator.
        stop: what reading the weight ended with, which is raised where it is no weight of the run time, or too little
            is known of it.
        bias: (M,) or one number, None where there is none.
        weight_axis: of the weight that holds M, or where there are groups, a group's part of it.
        groups: that the weight makes on that axis.
    """
    weight, element_type = context.required(_WEIGHT), context.required(0).element_type
    if (
        not is_of_run_time(stop)
        or weight.shape is None
        or not weight_axis < len(weight.shape)
        or element_type == TensorProto.UNDEFINED
    ):
        raise stop
    length = weight.shape[weight_axis]
    channels = length * groups if isinstance(length, int) else None if bias is None or bias.size == 1 else bias.size
    takes_scale = groups == 1 and _is_multiplied(weight)
    slot = _WEIGHT if takes_scale else None
    rank = len(weight.shape)
    return RuntimeContraction(bias, channels, rank, 1, slot, rank, weight_axis, stop.opaque.evidence)


def is_of_run_time(stop: Undecodable) -> bool:
    """Whether reading a weight ended because it is computed at run time."""
    return stop.opaque.reason is Reason.DYNAMIC_WEIGHT


def _is_multiplied(value: OnnxValue) -> bool:
    """Whether a tensor comes out of a multiplication, with each number of it made of one of its result."""
    for _ in range(_LONGEST_CHAIN):
        node = value.producer
        if node is None or not node.traits.per_number or node.inputs[0] is None:
            return False
        if node.traits.multiplies:
            return not node.is_batch_norm  # whose channels are on another axis
        value = node.inputs[0]
    return False


def encode_runtime_weight(
    context: OnnxContext, meaning: RuntimeContraction, *, beta: float | None = None
) -> OnnxEdit | Refusal:
    """The bias at input 2 takes the new values.

    Args:
        context: the operator.
        meaning: what it is to mean.
        beta: what an attribute of this name becomes; None where there is none.
    """
    numbers = {} if beta is None else {"beta": beta}
    if meaning.bias is None:
        return edit_of(context, {})
    if context.node.has_input(_BIAS):
        return edit_of(context, {_BIAS: parameter_for(context, _BIAS, meaning.bias)}, float_attributes=numbers)
    dtype = tensor_dtype_to_np_dtype(context.required(0).element_type)
    return edit_of(context, {_BIAS: new_parameter(meaning.bias, dtype)}, float_attributes=numbers)
