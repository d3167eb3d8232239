"""Products of com.microsoft with a weight of integers: one scale for each output or block, and a bias, are floats.

onnxruntime's optimisers put them together from what quantisation writes, and its tools for 4 bits write them.
Source: https://github.com/microsoft/onnxruntime/blob/main/docs/ContribOperators.md
"""

from collections.abc import Callable

import numpy as np

from bnfold.affine import Affine, Array
from bnfold.frontends.common.broadcasting import with_leading_ones
from bnfold.frontends.common.parameters import NewParameter
from bnfold.frontends.common.undecodable import Undecodable, malformed
from bnfold.frontends.onnx.attributes import attribute
from bnfold.frontends.onnx.edit import OnnxEdit
from bnfold.frontends.onnx.graph import OnnxNode, Shape, Traits
from bnfold.frontends.onnx.operators.context import OnnxContext
from bnfold.frontends.onnx.operators.parameters import bias_for, edit_of, parameter_for
from bnfold.frontends.onnx.operators.row import Encode, Family
from bnfold.frontends.onnx.requantize import new_scales
from bnfold.frontends.onnx.told_shapes import like_first_input, times_matrix
from bnfold.refusal import Reason, Refusal
from bnfold.semantics import IntegerProduct

FAMILY = Family()

_DOMAIN = "com.microsoft"
_WEIGHT = 1
# Of MatMulNBits and MatMulBnb4.
_BLOCK_SCALES, _BLOCK_BIAS = 2, 5
_IN_8_BITS = 4


def _encode(scale: int, bias: int) -> Encode:
    """The encoder of a product that has the scales of its weight and its bias at these inputs."""

    def encode(context: OnnxContext, meaning: IntegerProduct) -> OnnxEdit | Refusal:
        old = context.constants.require_exact(context.required(scale)).reshape(-1)
        new = meaning.affine.scale.reshape(-1)
        parameters = {scale: None if _same(old, new) else _scales(context, scale, new)}
        return edit_of(context, parameters | _bias(context, meaning, bias, like=scale, columns=_columns(context)))

    return encode


def _bias(
    context: OnnxContext, meaning: IntegerProduct, slot: int, *, like: int, columns: int
) -> dict[int, NewParameter | Refusal | None]:
    """The bias at an input, in the type of another one; nothing where there is none, and none is asked for."""
    if not context.node.has_input(slot) and not meaning.affine.has_shift:
        return {}
    vector = np.broadcast_to(meaning.affine.shift.reshape(-1), (columns,))
    return {slot: bias_for(context, vector, slot=slot, like=like)}


def _same(old: Array, new: Array) -> bool:
    return old.shape == new.shape and bool(np.all(old == new))


def _scales(context: OnnxContext, slot: int, exact: Array) -> NewParameter | Refusal:
    return new_scales(context.node, exact, context.constants.dtype_of(context.required(slot)))


def _columns(context: OnnxContext) -> int:
    """How many outputs the weight makes."""
    weight = context.shape(_WEIGHT)
    if len(weight) != 2 or not isinstance(weight[1], int):
        raise Undecodable(Reason.WRONG_AXIS, f"{context.node.op} has a weight of shape {weight}, only rank 2 folds")
    return weight[1]


@FAMILY.operator(
    "DynamicQuantizeMatMul",
    (1,),
    domain=_DOMAIN,
    encode=_encode(scale=2, bias=4),
    traits=Traits(tell_output_shape=times_matrix, type_of_input=0),
)
def decode_dynamic_quantize_mat_mul(context: OnnxContext) -> IntegerProduct:
    """DynamicQuantizeMatMul: x is rounded to integers. Source: com.microsoft DynamicQuantizeMatMul-1."""
    return _product(context, scale=2, bias=4)


@FAMILY.operator(
    "MatMulIntegerToFloat",
    (1,),
    domain=_DOMAIN,
    encode=_encode(scale=3, bias=6),
    traits=Traits(tell_output_shape=times_matrix, type_of_input=3),
)
def decode_mat_mul_integer_to_float(context: OnnxContext) -> IntegerProduct:
    """MatMulIntegerToFloat: integers times integers, times the scales of both.

    Source: com.microsoft MatMulIntegerToFloat-1.
    """
    return _product(context, scale=3, bias=6)


def _product(context: OnnxContext, scale: int, bias: int) -> IntegerProduct:
    rank, columns = len(context.shape(0)), _columns(context)
    scales = context.parameter(scale, dynamic=Reason.DYNAMIC_PARAMETER)
    if scales.size not in (1, columns):
        raise malformed(f"{context.node.op} with {columns} columns has scales of shape {scales.shape}")
    return IntegerProduct(_ended(context, scales.reshape(-1), bias, columns), (rank - 1,))


def _ended(context: OnnxContext, scales: Array, bias: int, columns: int) -> Affine:
    """Scales and the bias at an input, along the last axis of y."""
    rank = len(context.shape(0))
    vector = context.optional_parameter(bias, dynamic=Reason.DYNAMIC_BIAS)
    if vector is not None and vector.shape != (columns,):
        raise malformed(f"{context.node.op} with {columns} columns has a bias of shape {vector.shape}")
    shift = np.zeros(1) if vector is None else vector
    return Affine(with_leading_ones(scales, rank), with_leading_ones(shift, rank))


def _like_input_with(attribute_name: str) -> Callable[[OnnxNode], Shape | None]:
    """The shape of the output: that of the input, with as many channels at its end as an attribute says."""

    def tell(node: OnnxNode) -> Shape | None:
        shape, columns = like_first_input(node), attribute(node, attribute_name, None)
        return None if not shape or columns is None else (*shape[:-1], columns)

    return tell


def encode_mat_mul_n_bits(context: OnnxContext, meaning: IntegerProduct) -> OnnxEdit | Refusal:
    """Each block's scale is multiplied by what its output is; the integers and zero points stay."""
    bias = _bias(context, meaning, _BLOCK_BIAS, like=_BLOCK_SCALES, columns=context.attribute("N", 0))
    return edit_of(context, _scaled_blocks(context, meaning, _BLOCK_SCALES) | bias)


def _scaled_blocks(
    context: OnnxContext, meaning: IntegerProduct, slot: int
) -> dict[int, NewParameter | Refusal | None]:
    if not meaning.affine.has_scale:
        return {}
    old = context.constants.require_exact(context.required(slot))
    rows = old.reshape(context.attribute("N", 0), -1) * meaning.affine.scale.reshape(-1, 1)
    return {slot: _scales(context, slot, rows.reshape(old.shape))}


@FAMILY.operator(
    "MatMulNBits",
    (1,),
    domain=_DOMAIN,
    encode=encode_mat_mul_n_bits,
    traits=Traits(tell_output_shape=_like_input_with("N"), type_of_input=0),
)
def decode_mat_mul_n_bits(context: OnnxContext) -> IntegerProduct:
    """MatMulNBits: a scale for each block of inputs of each output, as (N, blocks).

    Level 4 of its accuracy lets the operator round what it reads to 8 bits. Source: com.microsoft MatMulNBits-1.
    """
    columns, inputs, block = (context.attribute(name, 0) for name in ("N", "K", "block_size"))
    rounds = context.attribute("accuracy_level", 0) == _IN_8_BITS
    scales = context.parameter(_BLOCK_SCALES, dynamic=Reason.DYNAMIC_PARAMETER)
    if min(columns, inputs, block) < 1 or scales.size != columns * -(-inputs // block):
        raise malformed(f"MatMulNBits with N={columns}, K={inputs}, blocks of {block} has {scales.size} scales")
    if context.attribute("weight_prepacked", 0):
        raise Undecodable(Reason.QUANTIZED, "its weight is packed for one device, and so may be its scales")
    affine = _ended(context, np.ones(1), _BLOCK_BIAS, columns)
    return IntegerProduct(affine, (affine.rank - 1,), rounds)


def encode_mat_mul_bnb4(context: OnnxContext, meaning: IntegerProduct) -> OnnxEdit | Refusal:
    """As MatMulNBits; an Add behind it takes a bias."""
    shift = meaning.affine.shift.reshape(-1)
    behind = parameter_for(context, _BLOCK_SCALES, shift) if meaning.affine.has_shift else None
    return edit_of(context, _scaled_blocks(context, meaning, _BLOCK_SCALES), bias_behind=behind)


@FAMILY.operator(
    "MatMulBnb4",
    (1,),
    domain=_DOMAIN,
    encode=encode_mat_mul_bnb4,
    traits=Traits(tell_output_shape=_like_input_with("N"), type_of_input=0),
)
def decode_mat_mul_bnb4(context: OnnxContext) -> IntegerProduct:
    """MatMulBnb4: the weight (N, K) in 4-bit floats, a scale for each block of all its numbers in a row.

    Source: com.microsoft MatMulBnb4-1.
    """
    columns, inputs, block = (context.attribute(name, 0) for name in ("N", "K", "block_size"))
    scales = context.parameter(_BLOCK_SCALES, dynamic=Reason.DYNAMIC_PARAMETER)
    if min(columns, inputs, block) < 1 or scales.size != -(-columns * inputs // block):
        raise malformed(f"MatMulBnb4 with N={columns}, K={inputs}, blocks of {block} has {scales.size} scales")
    if not context.attribute("transB", 1) or inputs % block:
        raise Undecodable(Reason.QUANTIZED, f"its blocks of {block} numbers belong to several outputs")
    rank = len(context.shape(0))
    return IntegerProduct(Affine(*np.array([1.0, 0.0]).reshape(2, *(1,) * rank)), (rank - 1,), rounds=False)
