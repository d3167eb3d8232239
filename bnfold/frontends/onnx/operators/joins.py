"""Add, Sub, Sum and Mul: a constant makes them affine maps, otherwise they join branches."""

from collections.abc import Sequence

from onnx import TensorProto
from onnx.helper import tensor_dtype_to_np_dtype

from bnfold.frontends.common.broadcasting import product_of, sum_of
from bnfold.frontends.common.parameters import new_parameter, without_leading_ones
from bnfold.frontends.common.undecodable import Undecodable
from bnfold.frontends.onnx.constants import OnnxConstants
from bnfold.frontends.onnx.graph import OnnxNode, OnnxValue, Shape, Traits
from bnfold.frontends.onnx.node_edits import OnnxEdit, edit_of
from bnfold.frontends.onnx.operators import affine_maps
from bnfold.frontends.onnx.operators.context import OnnxContext
from bnfold.frontends.onnx.operators.masks import decode_added_mask
from bnfold.frontends.onnx.operators.row import Family
from bnfold.frontends.onnx.told_shapes import broadcast
from bnfold.refusal import Reason, Refusal
from bnfold.semantics import AffineMap, BroadcastScale, Masking, Meaning, Product, Sum

FAMILY = Family()

_INTEGER_PRODUCTS = ("ConvInteger", "MatMulInteger")


def encode_mul(node: OnnxNode, meaning: Meaning, constants: OnnxConstants) -> OnnxEdit | Refusal:
    """By a constant, as affine maps; of two tensors, with an Add behind it for the bias."""
    if not isinstance(meaning, Product):
        return affine_maps.encode_factor(node, meaning, constants)
    if meaning.bias is None:
        return edit_of(node, {}, constants)
    element_type = next(value.element_type for value in node.inputs if value is not None and _is_linear(value))
    bias = new_parameter(without_leading_ones(meaning.bias, 1), tensor_dtype_to_np_dtype(element_type))
    return edit_of(node, {}, constants, bias_behind=bias)


@FAMILY.operator(
    "Add",
    (7, 13, 14),
    encode=affine_maps.encode_arithmetic,
    traits=Traits(may_be_affine=True, per_number=True, commutative=True, tell_output_shape=broadcast),
)
def decode_add(context: OnnxContext) -> AffineMap | Masking | Sum:
    """Source: ONNX Add-7, -13, -14."""
    if joins_activations(context):
        return _sum(context, (1.0, 1.0))
    try:
        return affine_maps.decode_add(context)
    except Undecodable as stop:
        mask = decode_added_mask(context) if stop.opaque.reason is Reason.NOT_FINITE else None
        if mask is None:
            raise
        return mask


@FAMILY.operator(
    "Sub",
    (7, 13, 14),
    encode=affine_maps.encode_arithmetic,
    traits=Traits(may_be_affine=True, per_number=True, tell_output_shape=broadcast),
)
def decode_sub(context: OnnxContext) -> AffineMap | Sum:
    """Source: ONNX Sub-7, -13, -14."""
    return _sum(context, (1.0, -1.0)) if joins_activations(context) else affine_maps.decode_sub(context)


@FAMILY.operator(
    "Mul",
    (7, 13, 14),
    encode=encode_mul,
    traits=Traits(may_be_affine=True, per_number=True, multiplies=True, commutative=True, tell_output_shape=broadcast),
)
def decode_mul(context: OnnxContext) -> AffineMap | BroadcastScale | Product:
    """Source: ONNX Mul-7, -13, -14."""
    if not joins_activations(context):
        return affine_maps.decode_mul(context)
    return product_of(_shapes(context, 2), takes_bias=any(map(_is_linear, map(context.required, (0, 1)))))


@FAMILY.operator("Sum", (6, 8, 13))
def decode_sum(context: OnnxContext) -> Sum:
    """Sum of any number of tensors. Source: ONNX Sum-6, -8, -13."""
    return _sum(context, (1.0,) * len(context.node.inputs))


def _sum(context: OnnxContext, signs: Sequence[float]) -> Sum:
    tensors = {context.required(slot) for slot in range(len(signs))}
    return sum_of(_shapes(context, len(signs)), signs, of_one_tensor=len(tensors) == 1 < len(signs))


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
    operands = [context.constants.read(context.required(slot)) for slot in (0, 1)]
    return all(isinstance(values, Refusal) and values.reason is Reason.DYNAMIC_PARAMETER for values in operands)
