"""Add, Sub, Sum, Mul and Div: with a constant they are affine maps, otherwise they join branches."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from onnx import TensorProto
from onnx.helper import tensor_dtype_to_np_dtype

from bnfold.affine import Array
from bnfold.frontends.common.arithmetic import divided, require_finite, scaled, shifted
from bnfold.frontends.common.broadcasting import product_of, sum_of, with_leading_ones, with_rank_of
from bnfold.frontends.common.parameters import NewParameter, new_operand, new_parameter, without_leading_ones
from bnfold.frontends.common.undecodable import Undecodable
from bnfold.frontends.onnx.constant_ops import is_float
from bnfold.frontends.onnx.edit import OnnxEdit
from bnfold.frontends.onnx.graph import OnnxValue, Shape, Traits
from bnfold.frontends.onnx.operators.context import OnnxContext
from bnfold.frontends.onnx.operators.masks import decode_added_mask
from bnfold.frontends.onnx.operators.parameters import edit_of
from bnfold.frontends.onnx.operators.row import Family
from bnfold.frontends.onnx.told_shapes import broadcast
from bnfold.refusal import Reason, Refusal
from bnfold.semantics import AffineMap, BroadcastScale, Masking, Product, Sum

FAMILY = Family()

_SIGNS = {"Add": (1.0, 1.0), "Sub": (1.0, -1.0)}
_INTEGER_PRODUCTS = ("ConvInteger", "MatMulInteger")


def encode_sum(context: OnnxContext, meaning: AffineMap) -> OnnxEdit | Refusal:
    """The constant is what is added, or what is subtracted."""
    slot = 1 - meaning.source
    old = context.constants.require(context.required(slot))
    values = without_leading_ones(_SIGNS[context.node.op][slot] * meaning.affine.shift, old.ndim)
    return edit_of(context, {slot: new_operand(values, old.dtype, meaning.form)})


@FAMILY.operator(
    "Add", (7, 13, 14), encode=encode_sum, traits=Traits(per_number=True, commutative=True, tell_output_shape=broadcast)
)
def decode_add(context: OnnxContext) -> AffineMap | Masking | Sum:
    """Add of a constant on either side, or of none. Source: ONNX Add-7, -13, -14."""
    try:
        return _signed_sum(context)
    except Undecodable as stop:
        mask = decode_added_mask(context) if stop.opaque.reason is Reason.NOT_FINITE else None
        if mask is None:
            raise
        return mask


@FAMILY.operator("Sub", (7, 13, 14), encode=encode_sum, traits=Traits(per_number=True, tell_output_shape=broadcast))
def decode_sub(context: OnnxContext) -> AffineMap | Sum:
    """Sub with a constant on either side, or with none. Source: ONNX Sub-7, -13, -14."""
    return _signed_sum(context)


def _signed_sum(context: OnnxContext) -> AffineMap | Sum:
    signs = _SIGNS[context.node.op]
    if joins_activations(context):
        return _sum(context, signs)
    source, constant = _operands(context)
    return shifted(signs[1 - source] * constant, source, scale=signs[source])


@FAMILY.operator("Sum", (6, 8, 13))
def decode_sum(context: OnnxContext) -> Sum:
    """Sum of any number of tensors. Source: ONNX Sum-6, -8, -13."""
    return _sum(context, (1.0,) * len(context.node.inputs))


@FAMILY.operator("Mean", (6, 8, 13))
def decode_mean(context: OnnxContext) -> Sum:
    """The mean of any number of tensors, each of which counts for its part. Source: ONNX Mean-6, -8, -13."""
    count = len(context.node.inputs)
    return _sum(context, (1.0 / count,) * count)


def _sum(context: OnnxContext, signs: Sequence[float]) -> Sum:
    tensors = {context.required(slot) for slot in range(len(signs))}
    return sum_of(_shapes(context, len(signs)), signs, of_one_tensor=len(tensors) == 1 < len(signs))


def encode_product(context: OnnxContext, meaning: AffineMap | BroadcastScale | Product) -> OnnxEdit | Refusal:
    """A constant factor becomes the scale; a Div becomes a Mul, because a scale may be zero.

    A product of two tensors gets an Add behind it for its bias.
    """
    if isinstance(meaning, Product):
        return _with_bias(context, meaning)
    slot = 1 - meaning.source
    old = context.constants.require(context.required(slot))
    op_type = "Mul" if context.node.op == "Div" else ""
    if isinstance(meaning, AffineMap):
        scale = without_leading_ones(meaning.affine.scale, old.ndim)
        return edit_of(context, {slot: new_operand(scale, old.dtype, meaning.form)}, op_type=op_type)
    values = without_leading_ones(meaning.values, old.ndim)
    edit = edit_of(context, {slot: new_parameter(values, old.dtype)}, op_type=op_type)
    return edit if isinstance(edit, Refusal) else replace(edit, widens_output=values.shape != old.shape)


def _with_bias(context: OnnxContext, meaning: Product) -> OnnxEdit | Refusal:
    behind = None
    if meaning.bias is not None:
        linear = (value for value in context.node.inputs if value is not None and _is_linear(value))
        dtype = tensor_dtype_to_np_dtype(next(linear).element_type)
        behind = new_parameter(without_leading_ones(meaning.bias, 1), dtype)
    copied: dict[int, tuple[int, NewParameter]] = {}
    for slot, values in meaning.constants.items():
        factor, constant = _shared_factor(context, context.required(slot)) or (0, values)
        if not np.array_equal(with_leading_ones(constant, meaning.rank), values):
            own = new_parameter(without_leading_ones(values, constant.ndim), np.dtype(np.float32))
            if isinstance(own, Refusal):
                return own
            copied[slot] = factor, own
    edit = edit_of(context, {}, bias_behind=behind)
    return edit if isinstance(edit, Refusal) else replace(edit, copied=copied)


def _shared_factor(context: OnnxContext, value: OnnxValue) -> tuple[int, Array] | None:
    """Where a tensor is made by a Mul with a constant, and read by others as well: the constant and its slot there."""
    node = value.producer
    if node is None or node.op != "Mul" or (len(value.value_readers) < 2 and not value.is_output):
        return None
    constants = {
        slot: found
        for slot, source in enumerate(node.inputs)
        if source is not None and not isinstance(found := context.constants.read_exact(source), Refusal)
    }
    return next(iter(constants.items())) if len(constants) == 1 else None


@FAMILY.operator(
    "Mul",
    (7, 13, 14),
    encode=encode_product,
    traits=Traits(per_number=True, multiplies=True, commutative=True, tell_output_shape=broadcast),
)
def decode_mul(context: OnnxContext) -> AffineMap | BroadcastScale | Product:
    """Mul by a constant, on either side, or of two tensors. Source: ONNX Mul-7, -13, -14."""
    if joins_activations(context):
        return _product(context)
    try:
        source, constant = _operands(context)
    except Undecodable as stop:
        if stop.opaque.reason is not Reason.BROADCASTS_ACTIVATION:
            raise
        return _broadcast_scale(context)
    return scaled(constant, source)


def _product(context: OnnxContext) -> Product:
    operands = [context.required(slot) for slot in (0, 1)]
    product = product_of(_shapes(context, 2), takes_bias=any(map(_is_linear, operands)))
    if not product.takes_bias:
        return product
    shared = {slot: _shared_factor(context, value) for slot, value in enumerate(operands)}
    constants = {
        slot: with_leading_ones(factor[1], product.rank)
        for slot, factor in shared.items()
        if factor is not None and factor[1].ndim <= product.rank and np.isfinite(factor[1]).all()
    }
    return replace(product, constants=constants)


def _broadcast_scale(context: OnnxContext) -> BroadcastScale:
    source = 0 if context.constant(0) is None else 1
    constant = context.parameter(1 - source, dynamic=Reason.DYNAMIC_PARAMETER)
    require_finite(constant)
    return BroadcastScale(with_leading_ones(constant, max(constant.ndim, len(context.shape(source)))), source)


@FAMILY.operator(
    "Div",
    (7, 13, 14),
    encode=encode_product,
    traits=Traits(per_number=True, multiplies=True, tell_output_shape=broadcast),
)
def decode_div(context: OnnxContext) -> AffineMap:
    """Div by a constant; a constant divided by x is not affine. Source: ONNX Div-7, -13, -14."""
    source, constant = _operands(context)
    if source == 1:
        raise Undecodable(Reason.NOT_LINEAR, "a constant divided by the activation is not affine")
    return divided(constant, source)


def _operands(context: OnnxContext) -> tuple[int, Array]:
    """Which input is the activation, and the other one's values with the activation's rank."""
    unknown = [context.constants.why_unknown(context.required(slot)) for slot in (0, 1)]
    for refusal in unknown:
        if refusal is not None and refusal.reason is not Reason.DYNAMIC_PARAMETER:
            raise Undecodable(refusal.reason, refusal.evidence)
    if unknown.count(None) != 1:
        raise Undecodable(Reason.NOT_LINEAR, f"{context.node.op} needs one constant and one activation")
    constant_slot = unknown.index(None)
    if not is_float(context.constants.dtype_of(context.required(constant_slot))):
        raise Undecodable(Reason.NOT_LINEAR, "the constant is not floating point")
    source = 1 - constant_slot
    constant = context.parameter(constant_slot, dynamic=Reason.DYNAMIC_PARAMETER)
    require_finite(constant)
    return source, with_rank_of(constant, context.shape(source))


def _shapes(context: OnnxContext, count: int) -> list[Shape]:
    return [context.shape(slot) for slot in range(count)]


def _is_linear(value: OnnxValue) -> bool:
    """Whether it is a product of integers as floating-point numbers: times their scales, it is a linear operator.

    Dynamic quantisation writes it, with an Add behind for the bias where the operator had one. Source:
    onnxruntime.quantization, quantize_dynamic.
    """
    cast = value.producer
    source = cast.inputs[0] if cast is not None and cast.op == "Cast" else None
    product = source.producer if source is not None else None
    return product is not None and product.op in _INTEGER_PRODUCTS and value.element_type != TensorProto.UNDEFINED


def joins_activations(context: OnnxContext) -> bool:
    """Whether both operands are computed at run time; a constant that may not be used is another matter."""
    unknown = [context.constants.why_unknown(context.required(slot)) for slot in (0, 1)]
    return all(refusal is not None and refusal.reason is Reason.DYNAMIC_PARAMETER for refusal in unknown)
