"""Gemm, MatMul, Einsum and FusedMatMul, read as contractions with one layout of the weight."""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
from onnx import TensorProto
from onnx.helper import tensor_dtype_to_np_dtype

from bnfold.affine import Array
from bnfold.frontends.common.einsum import factors_of_einsum, read_einsum, sums_rows
from bnfold.frontends.common.parameters import bias_along_output, bias_per_channel, new_parameter
from bnfold.frontends.common.products import as_matrix, matrix_times, require_matrix, scaled_product, times_matrix
from bnfold.frontends.common.undecodable import Undecodable, malformed
from bnfold.frontends.onnx.attributes import equation
from bnfold.frontends.onnx.edit import OnnxEdit
from bnfold.frontends.onnx.graph import Traits
from bnfold.frontends.onnx.operators.arithmetic import joins_activations
from bnfold.frontends.onnx.operators.attention import matrix_product, rows_sum_to_one
from bnfold.frontends.onnx.operators.context import OnnxContext
from bnfold.frontends.onnx.operators.parameters import bias_for, edit_of, weight_for
from bnfold.frontends.onnx.operators.row import Family
from bnfold.frontends.onnx.operators.runtime_weights import encode_runtime_weight, is_of_run_time, read_runtime_weight
from bnfold.frontends.onnx.told_shapes import multiplied, to_be_multiplied
from bnfold.frontends.onnx.told_shapes import times_matrix as shape_times_matrix
from bnfold.rearrange import Transposition
from bnfold.refusal import Reason, Refusal
from bnfold.semantics import Contraction, MatrixProduct, Rearrangement, RuntimeContraction
from bnfold.window import Window

FAMILY = Family()

_TRANSPOSED_ACTIVATIONS = ("transA", "transBatchA", "transBatchB")


def encode_gemm(context: OnnxContext, meaning: Contraction | RuntimeContraction) -> OnnxEdit | Refusal:
    """Alpha and beta are in the weight and the bias, and become 1; beside a weight of the run time beta alone."""
    if isinstance(meaning, RuntimeContraction):
        return encode_runtime_weight(context, meaning, beta=1.0)
    weight = weight_for(context, meaning, as_matrix(outputs_first=bool(context.attribute("transB", 0))))
    bias = bias_for(context, _gemm_bias(context, meaning))
    return edit_of(context, {1: weight, 2: bias}, float_attributes={"alpha": 1.0, "beta": 1.0})


def _gemm_bias(context: OnnxContext, meaning: Contraction) -> Array | None:
    """C keeps rank 2 where it had it; otherwise it is a vector over the columns. One that must go becomes 0."""
    has_bias = context.node.has_input(2)
    if meaning.bias is None:
        return np.zeros(meaning.output_channels) if has_bias else None
    had_rank_2 = has_bias and context.constants.require(context.required(2)).ndim == 2
    return meaning.bias if had_rank_2 else meaning.bias.reshape(-1)


@FAMILY.operator(
    "Gemm",
    (7, 9, 11, 13),
    encode=encode_gemm,
    traits=Traits(tell_output_shape=multiplied, tell_input_shape=to_be_multiplied),
)
def decode_gemm(context: OnnxContext) -> Contraction | RuntimeContraction:
    """Gemm: alpha * A' B' + beta * C with a constant C, and a B of the file or not.

    Source: ONNX Gemm-7, -9, -11, -13.
    """
    try:
        return read_gemm(context)
    except Undecodable as stop:
        bias = _addend(context) if is_of_run_time(stop) else None
        axis = 0 if context.attribute("transB", 0) else 1
        return read_runtime_weight(context, stop, bias=bias, weight_axis=axis)


def _addend(context: OnnxContext) -> Array | None:
    """Beta * C, where that has one number for each column, or one for all."""
    stored = context.optional_parameter(2, dynamic=Reason.DYNAMIC_BIAS)
    if stored is None:
        return None
    if stored.ndim and stored.size != stored.shape[-1]:
        raise Undecodable(Reason.WRONG_AXIS, f"Gemm adds a tensor of shape {stored.shape}, with numbers for each row")
    return stored.reshape(-1) * context.attribute("beta", 1.0)


def read_gemm(context: OnnxContext) -> Contraction:
    """Gemm with a weight of the file."""
    context.require_float(1)
    stored = context.weight(1)
    if stored.ndim != 2:
        raise malformed(f"Gemm has a weight of shape {stored.shape}, expected rank 2")
    weight, bias = scaled_product(
        stored if context.attribute("transB", 0) else stored.T,
        context.attribute("alpha", 1.0),
        context.optional_parameter(2, dynamic=Reason.DYNAMIC_BIAS),
        context.attribute("beta", 1.0),
        context.node.op,
    )
    input_axis = 0 if context.attribute("transA", 0) else 1
    return Contraction(weight, bias, 2, output_axis=1, input_axis=input_axis, window=Window())


def encode_mat_mul(context: OnnxContext, meaning: Contraction | MatrixProduct) -> OnnxEdit | Refusal:
    """With a bias it becomes a Gemm at rank 2, and gets an Add behind it at others."""
    if isinstance(meaning, MatrixProduct):
        return _with_bias_of_columns(context, meaning)
    slot = 1 - meaning.source
    if meaning.bias is None or not meaning.holds_bias:
        return _with_bias_behind(context, meaning, outputs_first=slot == 0)
    weight = weight_for(context, meaning, as_matrix(outputs_first=slot == 0), slot=slot)
    return edit_of(context, {slot: weight, 2: bias_for(context, bias_per_channel(meaning))}, op_type="Gemm")


def _with_bias_of_columns(context: OnnxContext, meaning: MatrixProduct) -> OnnxEdit | Refusal:
    """A product of two activations of rank 2 is a Gemm as well, which has a bias."""
    if meaning.bias is None:
        return edit_of(context, {})
    dtype = tensor_dtype_to_np_dtype(context.required(0).element_type)
    return edit_of(context, {2: new_parameter(meaning.bias.reshape(-1), dtype)}, op_type="Gemm")


def _with_bias_behind(
    context: OnnxContext,
    meaning: Contraction,
    *,
    outputs_first: bool,
    float_attributes: Mapping[str, float] | None = None,
) -> OnnxEdit | Refusal:
    """The edit of an operator without room for a bias, which an Add behind it takes."""
    slot = 1 - meaning.source
    weight = weight_for(context, meaning, as_matrix(outputs_first=outputs_first), slot=slot)
    bias = None if meaning.bias is None else bias_for(context, bias_along_output(meaning), like=slot)
    return edit_of(context, {slot: weight}, float_attributes=float_attributes, bias_behind=bias)


@FAMILY.operator("MatMul", (1, 9, 13), encode=encode_mat_mul)
def decode_mat_mul(context: OnnxContext) -> Contraction | MatrixProduct:
    """MatMul with a constant of rank 2 on either side, or with none. Source: ONNX MatMul-1, -9, -13."""
    if context.constants.why_unknown(context.required(0)) is None:
        context.require_float(0)
        return matrix_times(context.weight(0), len(context.shape(1)), 1, context.node.op)
    product = matrix_product(context) if joins_activations(context) else None
    if product is not None:
        is_gemm = all(factor.rank == 2 for factor in product.factors)
        return replace(product, takes_bias=is_gemm and context.required(0).element_type != TensorProto.UNDEFINED)
    context.require_float(1)
    stored = context.weight(1)
    require_matrix(stored, context.node.op)
    rank = len(context.shape(0))
    return times_matrix(stored.T, rank, holds_bias=rank == 2)


def encode_fused_mat_mul(context: OnnxContext, meaning: Contraction) -> OnnxEdit | Refusal:
    """Alpha is in the weight, and becomes 1; an Add behind it takes a bias."""
    transposed = bool(context.attribute("transB", 0))
    return _with_bias_behind(context, meaning, outputs_first=transposed, float_attributes={"alpha": 1.0})


_FUSED = Traits(tell_output_shape=shape_times_matrix, type_of_input=0)


@FAMILY.operator("FusedMatMul", (1,), domain="com.microsoft", encode=encode_fused_mat_mul, traits=_FUSED)
@FAMILY.operator("TransposeMatMul", (1,), domain="com.microsoft", encode=encode_fused_mat_mul, traits=_FUSED)
def decode_fused_mat_mul(context: OnnxContext) -> Contraction | MatrixProduct:
    """FusedMatMul: alpha * A B or alpha * A B', with a constant matrix B; TransposeMatMul is its older name.

    Of two activations, alpha * A B with either transposed, where alpha is 1 if the rows of A sum to 1.

    Source: com.microsoft FusedMatMul-1, TransposeMatMul-1.
    """
    if joins_activations(context) and not any(context.attribute(name, 0) for name in _TRANSPOSED_ACTIVATIONS[1:]):
        product = matrix_product(context, (bool(context.attribute("transA", 0)), bool(context.attribute("transB", 0))))
        if product is not None:
            return replace(product, rows_sum_to_one=product.rows_sum_to_one and context.attribute("alpha", 1.0) == 1.0)
    if any(context.attribute(name, 0) for name in _TRANSPOSED_ACTIVATIONS):
        raise Undecodable(Reason.UNKNOWN_OPERATOR, f"{context.node.op} with transposed activations has no rule")
    context.require_float(1)
    stored = context.weight(1)
    require_matrix(stored, context.node.op)
    matrix = stored if context.attribute("transB", 0) else stored.T
    weight, _ = scaled_product(matrix, context.attribute("alpha", 1.0), None, 1.0, context.node.op)
    return times_matrix(weight, len(context.shape(0)), holds_bias=False)


def encode_einsum(context: OnnxContext, meaning: Contraction) -> OnnxEdit | Refusal:
    """The matrix as the equation has it; an Add behind it takes a bias."""
    outputs_first = equation(context.node).has_outputs_first(1 - meaning.source)
    return _with_bias_behind(context, meaning, outputs_first=outputs_first)


@FAMILY.operator("Einsum", (12, 28), encode=encode_einsum)
def decode_einsum(context: OnnxContext) -> Contraction | MatrixProduct | Rearrangement:
    """Einsum of an activation and a constant matrix from inputs to outputs, or a permutation of one tensor's axes.

    Of two activations, any sum of their products.

    Source: ONNX Einsum-12, -28.
    """
    parsed = equation(context.node)
    if parsed.permutation is not None:
        return Rearrangement((Transposition(parsed.permutation),))
    if not parsed.joins_two:
        evidence = f"Einsum {str(parsed)!r} is no product of two tensors with a name for every axis"
        raise Undecodable(Reason.UNKNOWN_OPERATOR, evidence)
    if joins_activations(context):
        factors = factors_of_einsum(parsed, (context.shape(0), context.shape(1)))
        if factors is None:
            raise Undecodable(Reason.UNKNOWN_OPERATOR, f"Einsum {str(parsed)!r} takes a diagonal")
        weighs = sums_rows(parsed) and rows_sum_to_one(context.required(0))
        return MatrixProduct(factors, len(parsed.result), weighs)
    slot = 0 if context.constants.why_unknown(context.required(0)) is None else 1
    return read_einsum(parsed, slot, context.weight(slot), operator="Einsum")
