"""Attention: in one operator, or spelled out in products, masks and a softmax."""

import numpy as np
import torch

from bnfold.frontends.aten.constants import is_float
from bnfold.frontends.aten.node import AtenNode, AtenValue, Shape
from bnfold.frontends.aten.operators.call import AtenCall
from bnfold.frontends.aten.operators.family import AtenFamily
from bnfold.frontends.aten.operators.row import Keeps
from bnfold.frontends.common.dimensions import shared_axes
from bnfold.frontends.common.products import product_of_activations
from bnfold.frontends.common.undecodable import Undecodable
from bnfold.refusal import Reason, Refusal
from bnfold.semantics import Attention, Masking, MatrixProduct, Operand, Softmax

FAMILY = AtenFamily()

_SOFTMAX = ("aten::softmax", "aten::_softmax")
_PASSED_ON = ("aten::alias", "aten::clone", "aten::contiguous", "aten::detach", "aten::dropout")
_CONVERTS = ("aten::_to_copy", "aten::to")
_REGROUPED = ("aten::_unsafe_view", "aten::expand", "aten::reshape", "aten::view")
_BEFORE_SOFTMAX = ("aten::add", "aten::masked_fill", "aten::where")
_LONGEST_CHAIN = 8


@FAMILY.operator("scaled_dot_product_attention", keeps=Keeps.RANK | Keeps.TYPE)
def decode_attention(call: AtenCall) -> Attention:
    """Softmax of Q K', times V; a causal mask leaves every query a key, any other mask may leave it none.

    Source: torch.nn.functional.scaled_dot_product_attention.
    """
    call.require_float(*(call.value(name) for name in ("query", "key", "value")))
    shapes = [call.shape(name) for name in ("query", "key", "value")]
    if len({len(shape) for shape in shapes}) != 1:
        raise Undecodable(Reason.UNKNOWN_OPERATOR, f"{call.node.op} of tensors of several ranks has no rule")
    if call.fixed("dropout_p"):
        raise Undecodable(Reason.TRAINING_MODE, f"{call.node.op} drops weights by chance")
    value = None if call.has("attn_mask") else call.source("value")
    return Attention(len(shapes[0]), call.source("key"), value, heads=shared_axes(shapes))


@FAMILY.operator(
    "_log_softmax", "_safe_softmax", "_softmax", "log_softmax", "softmax", keeps=Keeps.RANK | Keeps.CHANNELS
)
def decode_softmax(call: AtenCall) -> Softmax:
    """A softmax or its logarithm over one axis. Source: torch.softmax."""
    return Softmax(call.node.operator.functional, (call.axis("dim", len(call.shape("self"))),), call.source("self"))


@FAMILY.operator("masked_fill", keeps=Keeps.TYPE)
def decode_masked_fill(call: AtenCall) -> Masking:
    """Minus infinity in the place of some numbers. Source: torch.Tensor.masked_fill."""
    shape, result = call.shape("self"), call.output_shape()
    if not hides(call.node.arguments["value"], call):
        raise Undecodable(Reason.UNKNOWN_OPERATOR, f"{call.node.op} has a rule for minus infinity alone")
    return Masking(operand(shape, len(result)), len(result), call.source("self"))


def hides(argument: object, call: AtenCall) -> bool:
    """Whether an argument is minus infinity, and nothing else."""
    if not isinstance(argument, AtenValue):
        return isinstance(argument, float) and argument == -np.inf
    stored = call.constants.read(argument)
    if isinstance(stored, Refusal) or not is_float(stored.dtype):
        return False
    return stored.numel() > 0 and bool(torch.isneginf(stored).all())


def decode_added_mask(call: AtenCall) -> Masking | None:
    """An addition of a constant that holds minus infinity, and finite numbers else; None of any other."""
    source, name = ("self", "other") if call.is_constant(call.node.arguments["other"]) else ("other", "self")
    mask = call.node.arguments[name]
    stored = call.constants.read(mask) if isinstance(mask, AtenValue) else None
    if stored is None or isinstance(stored, Refusal) or torch.isnan(stored).any() or torch.isposinf(stored).any():
        return None
    shape, result = call.shape(source), call.output_shape()
    return Masking(operand(shape, len(result)), len(result), call.source(source))


def matrix_product(call: AtenCall, left: str, right: str) -> MatrixProduct:
    """What a product of two tensors of the run time means, of which one at most is a vector."""
    shapes = (call.shape(left), call.shape(right))
    if not all(shapes) or len(shapes[0]) == len(shapes[1]) == 1:
        raise Undecodable(Reason.DYNAMIC_WEIGHT, f"{call.value(right).name!r} is no constant")
    call.require_float(call.value(left), call.value(right))
    weighs = rows_sum_to_one(call.value(left))
    return product_of_activations(shapes, (False, False), rows_sum_to_one=weighs)


def rows_sum_to_one(value: AtenValue) -> bool:
    """Whether a tensor comes out of a softmax over its last axis, as it is or under another shape."""
    node = value.producer
    for _ in range(_LONGEST_CHAIN):
        if node is None or not _keeps_rows(node):
            break
        node = node.inputs[0].producer
    if node is None or node.operator.functional not in _SOFTMAX or node.inputs[0].shape is None:
        return False
    dim, rank = node.arguments["dim"], len(node.inputs[0].shape)
    return isinstance(dim, int) and dim % rank == rank - 1


def _keeps_rows(node: AtenNode) -> bool:
    """Whether a node makes the rows of the last axis that it reads, in their order or several times."""
    if node.operator.functional in _PASSED_ON:
        return not node.arguments.get("train")
    if node.operator.functional in _CONVERTS:
        made = node.outputs[0]
        return made is not None and made.dtype is not None and is_float(made.dtype)
    shapes = [value.shape if value is not None else None for value in (node.inputs[0], node.outputs[0])]
    lengths = [shape[-1] if shape else None for shape in shapes]
    return node.operator.functional in _REGROUPED and isinstance(lengths[0], int) and lengths[0] == lengths[1]


def operand(shape: Shape, rank: int) -> Operand:
    """A tensor that is aligned with one of this rank at its last axes."""
    lengths = tuple(length if isinstance(length, int) else None for length in shape)
    return Operand((1,) * (rank - len(shape)) + lengths, len(shape))


def scales_scores(node: AtenNode) -> bool:
    """Whether a node multiplies scores with a number in front of a softmax: compilers look for that in attention."""
    source, factor = node.arguments.get("self"), node.arguments.get("other")
    if node.operator.functional not in ("aten::div", "aten::mul") or not isinstance(source, AtenValue):
        return False
    is_number = not isinstance(factor, AtenValue) or (factor.parameter is not None and factor.parameter.numel() == 1)
    product = source.producer
    if not is_number or product is None or product.operator.functional not in ("aten::bmm", "aten::matmul"):
        return False
    value = node.outputs[0]
    for _ in range(_LONGEST_CHAIN):
        if value is None or len(value.readers) != 1:
            return False
        reader = value.readers[0][0]
        if reader.operator.functional in _SOFTMAX:
            return True
        if reader.operator.functional not in _BEFORE_SOFTMAX:
            return False
        value = reader.outputs[0]
    return False
