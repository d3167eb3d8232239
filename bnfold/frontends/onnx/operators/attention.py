"""Softmax, and matrix products of two activations: what attention is spelled out in."""

from onnx import TensorProto

from bnfold.frontends.common.dimensions import shared_axes
from bnfold.frontends.common.products import product_of_activations
from bnfold.frontends.common.undecodable import Undecodable
from bnfold.frontends.onnx.attributes import attribute
from bnfold.frontends.onnx.graph import OnnxNode, OnnxValue, Shape, Traits
from bnfold.frontends.onnx.operators.context import OnnxContext
from bnfold.frontends.onnx.operators.row import Family
from bnfold.frontends.onnx.told_shapes import like_first_input, like_first_output
from bnfold.refusal import Reason
from bnfold.semantics import Attention, MatrixProduct, Softmax

FAMILY = Family()

_KEEPS_SHAPE = Traits(tell_output_shape=like_first_input, tell_input_shape=like_first_output)
_FIRST_OVER_ONE_AXIS = 13
# Of Dropout.
_FIRST_WITHOUT_MODE = 7
_FLOATS = (TensorProto.BFLOAT16, TensorProto.DOUBLE, TensorProto.FLOAT, TensorProto.FLOAT16)
# Between a softmax and what it weighs.
_LONGEST_CHAIN = 8
_QUERY, _KEY, _VALUE, _MASK, _LENGTHS = 0, 1, 2, 3, 6
_PAST = (4, 5)
# Of MultiHeadAttention.
_BIAS, _MASKS, _FIRST_OF_PAST = 3, (4, 5), 6


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
    shapes = [context.shape(slot) for slot in (_QUERY, _KEY, _VALUE)]
    ranks = {len(shape) for shape in shapes}
    others = [value for value in node.outputs[1:] if value is not None]
    if len(ranks) != 1 or any(map(node.has_input, _PAST)) or any(value.readers or value.is_output for value in others):
        raise Undecodable(Reason.NOT_LINEAR, "Attention with a past, or of which more than the result is read")
    heads = [attribute(node, name, 1) for name in ("q_num_heads", "kv_num_heads")]
    windows = [attribute(node, name, -1) for name in ("left_window_size", "right_window_size")]
    is_whole = max(windows) < 0 and not node.has_input(_MASK) and not node.has_input(_LENGTHS)
    weighs = heads[0] == heads[1] and is_whole
    key = None if attribute(node, "softcap", 0.0) else _KEY
    return Attention(ranks.pop(), key, _VALUE if weighs else None, heads=shared_axes(shapes))


def _attended(node: OnnxNode) -> Shape | None:
    """As many places as there are queries, with the features of the values."""
    query, value = (node.inputs[slot] if node.has_input(slot) else None for slot in (_QUERY, _VALUE))
    if query is None or value is None or query.shape is None or value.shape is None:
        return None
    return (*query.shape[:2], value.shape[2]) if len(query.shape) == len(value.shape) == 3 else None


@FAMILY.operator(
    "MultiHeadAttention", (1,), domain="com.microsoft", traits=Traits(tell_output_shape=_attended, type_of_input=0)
)
def decode_multi_head_attention(context: OnnxContext) -> Attention:
    """Attention of tensors of their own, that are not cached. Source: com.microsoft MultiHeadAttention-1."""
    node = context.node
    others = [value for value in node.outputs[1:] if value is not None]
    seen = any(value.readers or value.is_output for value in others)
    if seen or any(map(node.has_input, range(_FIRST_OF_PAST, len(node.inputs)))):
        raise Undecodable(Reason.NOT_LINEAR, "MultiHeadAttention with a past, or of which more than the result is read")
    if not all(map(node.has_input, (_KEY, _VALUE))) or any(len(context.shape(slot)) != 3 for slot in range(3)):
        raise Undecodable(Reason.UNKNOWN_OPERATOR, "MultiHeadAttention of packed tensors has no rule")
    is_whole = not any(map(node.has_input, _MASKS))
    return Attention(3, _KEY, _VALUE if is_whole else None, adds_bias=node.has_input(_BIAS))


def matrix_product(context: OnnxContext, transposed: tuple[bool, bool] = (False, False)) -> MatrixProduct | None:
    """What a product of two activations means; None where their ranks are not known, or both are vectors.

    Args:
        context: the node.
        transposed: whether the last two axes of each change places first.
    """
    left, right = context.required(0), context.required(1)
    if not left.shape or not right.shape or len(left.shape) == len(right.shape) == 1:
        return None
    weighs = rows_sum_to_one(left) and not transposed[0]
    return product_of_activations((left.shape, right.shape), transposed, rows_sum_to_one=weighs)


def rows_sum_to_one(value: OnnxValue) -> bool:
    """Whether a tensor comes out of a softmax over its last axis, as it is, in another type or under another shape."""
    for _ in range(_LONGEST_CHAIN):
        node = value.producer
        if node is None or not node.is_standard or node.inputs[0] is None or value.shape is None:
            return False
        if node.proto.op_type == "Softmax":
            return _axes(node, len(value.shape)) == (len(value.shape) - 1,)
        if not _keeps_rows(node, node.inputs[0].shape, value.shape):
            return False
        value = node.inputs[0]
    return False


def _keeps_rows(node: OnnxNode, before: Shape | None, after: Shape) -> bool:
    """Whether a node makes the rows of the last axis that it reads, in their order."""
    if node.proto.op_type == "Reshape":
        lengths = [shape[-1] if shape else None for shape in (before, after)]
        return isinstance(lengths[0], int) and lengths[0] == lengths[1]
    match node.proto.op_type:
        case "Identity":
            return True
        case "Cast":
            return attribute(node, "to", 0) in _FLOATS
        case "Dropout":
            return node.opset >= _FIRST_WITHOUT_MODE and not node.has_input(2)
    return False
