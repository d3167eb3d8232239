"""Softmax, and matrix products of two activations: what attention is spelled out in."""

from bnfold.frontends.common.undecodable import Undecodable
from bnfold.frontends.onnx.attributes import attribute
from bnfold.frontends.onnx.graph import OnnxNode, OnnxValue, Traits
from bnfold.frontends.onnx.operators.context import OnnxContext
from bnfold.frontends.onnx.operators.row import Family
from bnfold.frontends.onnx.told_shapes import like_first_input, like_first_output
from bnfold.refusal import Reason
from bnfold.semantics import Attention, MatrixProduct, Operand, Softmax

FAMILY = Family()

_KEEPS_SHAPE = Traits(tell_output_shape=like_first_input, tell_input_shape=like_first_output)
_FIRST_OVER_ONE_AXIS = 13
_QUERY, _KEY, _VALUE, _MASK, _LENGTHS = 0, 1, 2, 3, 6
_PAST = (4, 5)


@FAMILY.operator("LogSoftmax", (1, 11, 13), traits=_KEEPS_SHAPE)
@FAMILY.operator("Softmax", (1, 11, 13), traits=_KEEPS_SHAPE)
def decode_softmax(context: OnnxContext) -> Softmax:
    """Over one axis, before version 13 over all from one on. Source: ONNX Softmax-1 to -13, LogSoftmax-1 to -13."""
    return Softmax(context.node.op, _axes(context.node, len(context.shape(0))))


def _axes(node: OnnxNode, rank: int) -> tuple[int, ...]:
    if node.opset >= _FIRST_OVER_ONE_AXIS:
        return (attribute(node, "axis", -1) % rank,)
    return tuple(range(attribute(node, "axis", 1) % rank, rank))


@FAMILY.operator("Attention", (23, 24, 25))
def decode_attention(context: OnnxContext) -> Attention:
    """Attention of tensors that are not cached: with a past, its keys and values are not those of the shift.

    Source: ONNX Attention-23, -24, -25.
    """
    node = context.node
    ranks = {len(context.shape(slot)) for slot in (_QUERY, _KEY, _VALUE)}
    others = [value for value in node.outputs[1:] if value is not None]
    if len(ranks) != 1 or any(map(node.has_input, _PAST)) or any(value.readers or value.is_output for value in others):
        raise Undecodable(Reason.NOT_LINEAR, "Attention with a past, or of which more than the result is read")
    heads = [attribute(node, name, 1) for name in ("q_num_heads", "kv_num_heads")]
    windows = [attribute(node, name, -1) for name in ("left_window_size", "right_window_size")]
    is_whole = max(windows) < 0 and not node.has_input(_MASK) and not node.has_input(_LENGTHS)
    weighs = heads[0] == heads[1] and is_whole
    key = None if attribute(node, "softcap", 0.0) else _KEY
    return Attention(ranks.pop(), key, _VALUE if weighs else None)


def matrix_product(context: OnnxContext) -> MatrixProduct | None:
    """What a MatMul of two activations means; None where their ranks are not known, or not alike."""
    left, right = context.required(0), context.required(1)
    if left.shape is None or right.shape is None or len(left.shape) != len(right.shape) or len(left.shape) < 2:
        return None
    rank = len(left.shape)
    operands = (Operand(_lengths(left), rank), Operand(_lengths(right), rank))
    return MatrixProduct(operands, rank, _rows_sum_to_one(left, rank))


def _rows_sum_to_one(value: OnnxValue, rank: int) -> bool:
    node = value.producer
    is_softmax = node is not None and node.is_standard and node.proto.op_type == "Softmax"
    return node is not None and is_softmax and _axes(node, rank) == (rank - 1,)


def _lengths(value: OnnxValue) -> tuple[int | None, ...]:
    return tuple(length if isinstance(length, int) else None for length in value.shape or ())
