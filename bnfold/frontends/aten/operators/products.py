"""Products with a constant matrix, read as contractions with one layout of the weight, and written back."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from bnfold.affine import Array
from bnfold.errors import InternalError
from bnfold.frontends.aten.constants import numpy_dtype
from bnfold.frontends.aten.edit import AtenEdit
from bnfold.frontends.aten.operators.accepted_shapes import (
    Takes,
    accepted_by_linear,
    accepted_by_matmul,
    accepted_by_mm,
)
from bnfold.frontends.aten.operators.attention import matrix_product, rows_sum_to_one
from bnfold.frontends.aten.operators.call import AtenCall, known_shape
from bnfold.frontends.aten.operators.family import AtenFamily
from bnfold.frontends.aten.operators.parameters import edit_of, encode_with_bias, parameter_like, rounded, weight_of
from bnfold.frontends.aten.operators.row import Keeps
from bnfold.frontends.aten.operators.runtime_weights import encode_runtime_weight, read_runtime_weight
from bnfold.frontends.common.convolutions import (
    on_axis,
)
from bnfold.frontends.common.einsum import factors_of_einsum, parse_equation, read_einsum, sums_rows
from bnfold.frontends.common.parameters import NewParameter, bias_along_output, bias_per_channel, new_weight
from bnfold.frontends.common.precision import AnyArray
from bnfold.frontends.common.products import as_matrix, matrix_times, require_matrix, scaled_product, times_matrix
from bnfold.frontends.common.undecodable import Undecodable, malformed
from bnfold.refusal import Reason, Refusal
from bnfold.semantics import Contraction, MatrixProduct, RuntimeContraction

FAMILY = AtenFamily()
_RANK_AND_TYPE = Keeps.RANK | Keeps.TYPE


_encode_stored = encode_with_bias(as_matrix(outputs_first=True))


def encode_linear(call: AtenCall, meaning: Contraction | RuntimeContraction) -> AtenEdit | Refusal:
    """Weight and bias; of a weight of the run time, the bias alone."""
    if isinstance(meaning, RuntimeContraction):
        return encode_runtime_weight(call, meaning)
    return _encode_stored(call, meaning)


def encode_addmm(call: AtenCall, meaning: Contraction) -> AtenEdit | Refusal:
    """The weight is the transposed `mat2`, the bias is `self`; alpha and beta become 1."""
    if meaning.bias is None:
        raise InternalError(f"{call.node.label!r} lost its bias")
    had_rank_2 = call.constants.require(call.value("self")).ndim == 2
    bias = meaning.bias if had_rank_2 else meaning.bias.reshape(-1)
    weight = weight_of(call, "mat2", meaning, as_matrix(outputs_first=False))
    new_bias = parameter_like(call, "self", bias)
    return edit_of(call, {("mat2", None): weight, ("self", None): new_bias}, numbers={"alpha": 1, "beta": 1})


def encode_mat_mul(call: AtenCall, meaning: Contraction | MatrixProduct) -> AtenEdit | Refusal:
    """matmul, mm and bmm; where rank 2 needs a bias, addmm takes their place, else an addition follows."""
    right = "other" if "other" in call.node.arguments else "mat2"
    if isinstance(meaning, MatrixProduct):
        return _with_bias_of_columns(call, meaning, right)
    on_the_left = meaning.source == call.source(right)
    name = "self" if on_the_left else right
    copies = call.constants.require(call.value(name)).shape[:-2]

    def layout(weight: AnyArray) -> AnyArray:
        matrix = as_matrix(outputs_first=on_the_left)(weight)
        return np.broadcast_to(matrix, (*copies, *matrix.shape))

    weight = weight_of(call, name, meaning, layout)
    if meaning.bias is None or not meaning.holds_bias:
        return edit_of(call, {(name, None): weight}, bias_behind=_bias_behind(call, meaning))
    bias = parameter_like(call, name, bias_per_channel(meaning))
    if isinstance(bias, Refusal):
        return bias
    moved = {"mat1": "self", "mat2": right}
    return edit_of(call, {(name, None): weight}, op="aten::addmm", moved=moved, added={"self": bias})


def _with_bias_of_columns(call: AtenCall, meaning: MatrixProduct, right: str) -> AtenEdit | Refusal:
    result = call.node.outputs[0]
    if meaning.bias is None or result is None or result.dtype is None:
        return edit_of(call, {})
    bias = rounded(meaning.bias.reshape(-1), result.dtype)
    if isinstance(bias, Refusal):
        return bias
    return edit_of(call, {}, op="aten::addmm", moved={"mat1": "self", "mat2": right}, added={"self": bias})


def encode_einsum(call: AtenCall, meaning: Contraction) -> AtenEdit | Refusal:
    """The matrix in the order of its letters; an addition behind takes a bias."""
    slot = 1 - meaning.source
    outputs_first = parse_equation(str(call.fixed("equation"))).has_outputs_first(slot)
    dtype = call.constants.require(call.values("tensors")[slot]).dtype
    weight = new_weight(meaning, numpy_dtype(dtype), as_matrix(outputs_first=outputs_first))
    return edit_of(call, {("tensors", slot): weight}, bias_behind=_bias_behind(call, meaning))


def _bias_behind(call: AtenCall, meaning: Contraction) -> NewParameter | Refusal | None:
    """The bias as an addition behind the node takes it, in the type of the node's result."""
    result = call.node.outputs[0]
    if meaning.bias is None or result is None or result.dtype is None:
        return None
    return rounded(bias_along_output(meaning), result.dtype)


@FAMILY.operator(
    "linear",
    encode=encode_linear,
    converts_in_autocast=True,
    keeps=_RANK_AND_TYPE,
    takes=Takes("input", "weight", accepted_by_linear),
)
def decode_linear(call: AtenCall) -> Contraction | RuntimeContraction:
    """The product x W' + b over the last axis of x, of any rank: never over axis 1, even where that is as long.

    Source: torch.nn.functional.linear
    """
    if not call.is_constant(call.value("weight")):
        return read_runtime_weight(call, len(call.shape("input")) - 1)
    weight = call.parameter("weight", dynamic=Reason.DYNAMIC_WEIGHT)
    require_matrix(weight, call.node.op)
    rank = len(call.shape("input"))
    bias = call.optional_parameter("bias", dynamic=Reason.DYNAMIC_BIAS)
    if bias is not None:
        if bias.shape not in ((weight.shape[0],), (1,), ()):
            raise malformed(f"the bias has shape {bias.shape}, expected ({weight.shape[0]},)")
        bias = on_axis(np.broadcast_to(bias, weight.shape[:1]), rank, rank - 1)
    return times_matrix(weight, rank, bias)


@FAMILY.operator("addmm", encode=encode_addmm, converts_in_autocast=True, takes=Takes("mat1", "mat2", accepted_by_mm))
def decode_addmm(call: AtenCall) -> Contraction:
    """The sum beta * self + alpha * (mat1 @ mat2) with a constant mat2 and self. Source: torch.addmm."""
    _keeps_type(call)
    stored = call.parameter("mat2", dynamic=Reason.DYNAMIC_WEIGHT)
    if stored.ndim != 2:
        raise malformed(f"addmm has a mat2 of shape {stored.shape}, expected rank 2")
    weight, bias = scaled_product(
        stored.T,
        call.fixed("alpha"),
        call.parameter("self", dynamic=Reason.DYNAMIC_BIAS),
        call.fixed("beta"),
        call.node.op,
    )
    return replace(times_matrix(weight, 2, bias), source=call.source("mat1"))


@FAMILY.operator(
    "matmul", encode=encode_mat_mul, converts_in_autocast=True, takes=Takes("self", "other", accepted_by_matmul)
)
@FAMILY.operator("mm", encode=encode_mat_mul, converts_in_autocast=True, takes=Takes("self", "mat2", accepted_by_mm))
def decode_mat_mul(call: AtenCall) -> Contraction | MatrixProduct:
    """Matmul and mm with a constant matrix on either side, or with none. Source: torch.matmul."""
    return _mat_mul(call, _matrix, takes_bias=True)


@FAMILY.operator("bmm", encode=encode_mat_mul, converts_in_autocast=True)
def decode_batched_mat_mul(call: AtenCall) -> Contraction | MatrixProduct:
    """Bmm with a constant that holds one matrix again and again, on either side, or with none. Source: torch.bmm."""
    return _mat_mul(call, _repeated_matrix, takes_bias=False)


def _mat_mul(
    call: AtenCall, read: Callable[[AtenCall, str], Array], *, takes_bias: bool
) -> Contraction | MatrixProduct:
    _keeps_type(call)
    right = "other" if "other" in call.node.arguments else "mat2"
    if not call.is_constant(call.value("self")) and not call.is_constant(call.value(right)):
        product = matrix_product(call, "self", right)
        result = call.node.outputs[0]
        is_addmm = takes_bias and all(factor.rank == 2 for factor in product.factors)
        return replace(product, takes_bias=is_addmm and result is not None and result.dtype is not None)
    if call.is_constant(call.value("self")):
        rank = len(call.shape(right))
        if len(call.output_shape()) != rank:
            raise Undecodable(Reason.WRONG_AXIS, f"a constant matrix on the left of a tensor of rank {rank}")
        return matrix_times(read(call, "self"), rank, call.source(right), call.node.op)
    rank = len(call.shape("self"))
    return times_matrix(read(call, right).T, rank, holds_bias=takes_bias and rank == 2)


def _matrix(call: AtenCall, name: str) -> Array:
    stored = call.parameter(name, dynamic=Reason.DYNAMIC_WEIGHT)
    require_matrix(stored, call.node.op)
    return stored


def _repeated_matrix(call: AtenCall, name: str) -> Array:
    """One of a stack of matrices that are all equal."""
    stored = call.parameter(name, dynamic=Reason.DYNAMIC_WEIGHT)
    if stored.ndim != 3 or np.any(stored != stored[:1]):
        raise Undecodable(
            Reason.WRONG_AXIS, f"{call.node.op} has a constant of shape {stored.shape}, and only equal matrices fold"
        )
    matrix: Array = stored[0]
    return matrix


@FAMILY.operator("einsum", encode=encode_einsum, converts_in_autocast=True, may_return_input=True)
def decode_einsum(call: AtenCall) -> Contraction | MatrixProduct:
    """An einsum of an activation and a constant matrix from inputs to outputs, or of two activations.

    Source: torch.einsum
    """
    text = str(call.fixed("equation")).replace(" ", "")
    parsed, tensors = parse_equation(text), call.values("tensors")
    if not parsed.joins_two or len(tensors) != 2:
        evidence = f"einsum {text!r} is no product of two tensors with a name for every axis"
        raise Undecodable(Reason.UNKNOWN_OPERATOR, evidence)
    if not any(map(call.is_constant, tensors)):
        factors = factors_of_einsum(parsed, (known_shape(tensors[0]), known_shape(tensors[1])))
        if factors is None:
            raise Undecodable(Reason.UNKNOWN_OPERATOR, f"einsum {text!r} takes a diagonal")
        call.require_float(*tensors)
        return MatrixProduct(factors, len(parsed.result), sums_rows(parsed) and rows_sum_to_one(tensors[0]))
    slot = 0 if call.is_constant(tensors[0]) else 1
    matrix = call.parameter_at(tensors[slot], dynamic=Reason.DYNAMIC_WEIGHT)
    return read_einsum(parsed, slot, matrix, operator="einsum")


def _keeps_type(call: AtenCall) -> None:
    if "out_dtype" in call.node.arguments:
        raise Undecodable(Reason.NOT_LINEAR, f"{call.node.op} makes a tensor of another type")
