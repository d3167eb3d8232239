"""Batch normalisation, and mul, add, sub, div by a constant, read as affine maps and written back."""

import numpy as np

from bnfold.affine import Array
from bnfold.errors import InternalError
from bnfold.frontends.aten.constants import is_float, numpy_dtype
from bnfold.frontends.aten.edit import AtenEdit
from bnfold.frontends.aten.node import AtenValue
from bnfold.frontends.aten.operators.accepted_shapes import Takes, accepted_by_norm_of_channels
from bnfold.frontends.aten.operators.call import AtenCall
from bnfold.frontends.aten.operators.family import AtenFamily
from bnfold.frontends.aten.operators.parameters import edit_of, rounded, type_of
from bnfold.frontends.aten.operators.row import Keeps
from bnfold.frontends.common.arithmetic import divided, require_finite, scaled, shifted
from bnfold.frontends.common.batch_norms import (
    moved_mean,
    read_batch_norm,
    require_channels,
    require_vectors,
    scale_and_bias,
)
from bnfold.frontends.common.broadcasting import with_rank_of
from bnfold.frontends.common.parameters import new_operand, without_leading_ones
from bnfold.frontends.common.undecodable import Undecodable, if_meant_for_inference
from bnfold.refusal import Reason, Refusal
from bnfold.semantics import AffineMap, BroadcastScale

FAMILY = AtenFamily()


def _no_widening(call: AtenCall) -> Refusal:
    """The shape of a node's result is noted in the program, and on its readers."""
    return Refusal(Reason.WRONG_AXIS, f"the result of {call.node.op} would have to grow, and keeps its shape")


def encode_mul(call: AtenCall, meaning: AffineMap | BroadcastScale) -> AtenEdit | Refusal:
    """The constant becomes the scale."""
    if isinstance(meaning, BroadcastScale):
        return _no_widening(call)
    return _new_operand(call, meaning, meaning.affine.scale)


def encode_div(call: AtenCall, meaning: AffineMap | BroadcastScale) -> AtenEdit | Refusal:
    """A division becomes a product, because a scale may be zero."""
    if isinstance(meaning, BroadcastScale):
        return _no_widening(call)
    return _new_operand(call, meaning, meaning.affine.scale, op="aten::mul")


def encode_add(call: AtenCall, meaning: AffineMap) -> AtenEdit | Refusal:
    """The constant of self + alpha * other."""
    return _new_shift(call, meaning, 1.0, alpha(call))


def encode_sub(call: AtenCall, meaning: AffineMap) -> AtenEdit | Refusal:
    """The constant of self - alpha * other."""
    return _new_shift(call, meaning, 1.0, -alpha(call))


def encode_rsub(call: AtenCall, meaning: AffineMap) -> AtenEdit | Refusal:
    """The constant of other - alpha * self."""
    return _new_shift(call, meaning, -alpha(call), 1.0)


def _new_shift(call: AtenCall, meaning: AffineMap, of_self: float, of_other: float) -> AtenEdit | Refusal:
    """What the operator multiplies its constant by, before it adds it, comes out of the shift."""
    factor = of_self if _which_is_constant(call, meaning) == "self" else of_other
    return _new_operand(call, meaning, meaning.affine.shift / factor)


def _new_operand(call: AtenCall, meaning: AffineMap, values: Array, op: str = "") -> AtenEdit | Refusal:
    """The constant operand with new values, in its own form: a number stays one, if one number is enough."""
    node, name = call.node, _which_is_constant(call, meaning)
    old = node.arguments[name]
    stored = call.constants.require(old) if isinstance(old, AtenValue) else None
    values = without_leading_ones(values, 0 if stored is None else stored.ndim)
    # Numbers, and tensors of rank 0, take the type of the activation whatever their own is.
    own_type = stored is not None and stored.ndim > 0
    result = node.outputs[0]
    dtype = stored.dtype if stored is not None and own_type else getattr(result, "dtype", None)
    if dtype is None:
        raise InternalError(f"the type of what {node.label!r} makes is not known")
    parameter = new_operand(values, numpy_dtype(dtype), meaning.form)
    if isinstance(parameter, Refusal):
        return parameter
    is_number = stored is None and values.ndim == 0
    return edit_of(
        call,
        {} if is_number else {(name, None): parameter},
        numbers={name: float(parameter.rounded)} if is_number else {},
        op=op,
        moved={"self": "self", "other": "other"} if op else {},
    )


def _which_is_constant(call: AtenCall, meaning: AffineMap) -> str:
    """Which operand is the constant."""
    return "other" if meaning.source == call.source("self") else "self"


def decode_batch_norm(call: AtenCall) -> AffineMap:
    """A batch_norm that a flag lets train; one that keeps no statistics always takes those of the batch.

    Weight and bias may be absent, statistics may not.

    Source: torch.nn.functional.batch_norm; aten/src/ATen/native/native_functions.yaml
    """
    if call.fixed("training") or not has_statistics(call):
        return decode_training_batch_norm(call)
    return decode_inference_batch_norm(call)


def encode_statistics(call: AtenCall, meaning: AffineMap) -> AtenEdit | Refusal:
    """The variance stays, and the mean where the statistics do; weight and bias take the change."""
    mean, variance = (
        call.parameter(name, dynamic=Reason.DYNAMIC_PARAMETER) for name in ("running_mean", "running_var")
    )
    exact_mean = moved_mean(meaning, mean)
    moved = None if exact_mean is None else rounded(exact_mean, type_of(call, "running_mean"))
    if isinstance(moved, Refusal):
        return moved
    mean = mean if moved is None else moved.rounded.astype(np.float64)
    vectors = meaning.affine.along(1)
    if vectors is None:
        raise InternalError(f"a map over several axes was to go into {call.node.label!r}")
    gamma, beta = scale_and_bias(vectors, mean, variance, epsilon(call))
    dtype = type_of(call, "weight", "bias", "running_mean")
    return edit_of(
        call,
        {("weight", None): rounded(gamma, dtype), ("bias", None): rounded(beta, dtype), ("running_mean", None): moved},
    )


@FAMILY.operator(
    "_batch_norm_with_update",
    "_batch_norm_with_update_functional",
    is_batch_norm=True,
    keeps=Keeps.ALL,
    takes=Takes("input", "running_mean", accepted_by_norm_of_channels),
)
def decode_training_batch_norm(call: AtenCall) -> AffineMap:
    """A batch_norm that takes its statistics from the batch is no affine map."""
    if _statistics_are_used(call):
        raise Undecodable(Reason.TRAINING_MODE, "it takes its statistics from the batch, and they are used")
    if not has_statistics(call):
        raise Undecodable(Reason.TRAINING_MODE, "it keeps no statistics, and always takes those of the batch")
    raise Undecodable(Reason.TRAINING_MODE, "it takes its statistics from the batch", if_meant_for_inference())


@FAMILY.operator(
    "_native_batch_norm_legit_no_training",
    "_batch_norm_no_update",
    encode=encode_statistics,
    is_batch_norm=True,
    keeps=Keeps.ALL,
    takes=Takes("input", "running_mean", accepted_by_norm_of_channels),
)
def decode_inference_batch_norm(call: AtenCall) -> AffineMap:
    """A batch_norm that uses the statistics that it keeps."""
    if _statistics_are_used(call):
        raise Undecodable(Reason.STATISTICS_OUTPUTS, "its statistics are used")
    return decode_statistics(call)


def decode_statistics(call: AtenCall) -> AffineMap:
    """What a norm with running statistics computes in inference."""
    shape = call.shape("input")
    require_channels(shape)
    mean, variance = (
        call.parameter(name, dynamic=Reason.DYNAMIC_PARAMETER) for name in ("running_mean", "running_var")
    )
    gamma = call.optional_parameter("weight", dynamic=Reason.DYNAMIC_PARAMETER)
    beta = call.optional_parameter("bias", dynamic=Reason.DYNAMIC_PARAMETER)
    gamma = np.ones_like(mean) if gamma is None else gamma
    beta = np.zeros_like(mean) if beta is None else beta
    require_vectors(gamma, beta, mean, variance)
    return read_batch_norm(gamma, beta, mean, variance, epsilon(call), shape)


def epsilon(call: AtenCall) -> float:
    """What keeps the variance from zero; the cudnn and miopen forms have another name for it."""
    return float(call.fixed("eps" if "eps" in call.node.arguments else "epsilon"))


def decode_mul(call: AtenCall) -> AffineMap:
    """Product with a constant, on either side."""
    source, constant, _ = operands(call)
    return scaled(constant, source)


@FAMILY.operator("div", "divide", "true_divide", encode=encode_div)
def decode_div(call: AtenCall) -> AffineMap:
    """Division by a constant; a constant divided by x is not affine, a rounded quotient neither."""
    if call.fixed("rounding_mode") is not None:
        raise Undecodable(Reason.NOT_LINEAR, f"the quotient is rounded ({call.fixed('rounding_mode')})")
    source, constant, name = operands(call)
    if name == "self":
        raise Undecodable(Reason.NOT_LINEAR, "a constant divided by the activation is not affine")
    return divided(constant, source)


def decode_add(call: AtenCall) -> AffineMap:
    """Addition, self + alpha * other, with a constant on either side."""
    return _shift(call, 1.0, alpha(call))


def decode_sub(call: AtenCall) -> AffineMap:
    """Subtraction, self - alpha * other, with a constant on either side."""
    return _shift(call, 1.0, -alpha(call))


def decode_rsub(call: AtenCall) -> AffineMap:
    """Subtraction the other way, other - alpha * self, with a constant on either side."""
    return _shift(call, -alpha(call), 1.0)


def alpha(call: AtenCall) -> float:
    """The factor of the second operand."""
    return float(call.fixed("alpha")) if call.has("alpha") else 1.0


def _shift(call: AtenCall, of_self: float, of_other: float) -> AffineMap:
    source, constant, name = operands(call)
    scale, factor = (of_other, of_self) if name == "self" else (of_self, of_other)
    if 0.0 in (scale, factor):
        raise Undecodable(Reason.NOT_LINEAR, "alpha is 0, so that one operand does not count")
    return shifted(factor * constant, source, scale=scale)


def operands(call: AtenCall) -> tuple[int, Array, str]:
    """Which input is the activation, the constant with the activation's rank, and the constant's name."""
    arguments = {name: call.node.arguments.get(name) for name in ("self", "other")}
    constant_names = [name for name, argument in arguments.items() if call.is_constant(argument)]
    if len(constant_names) != 1:
        raise Undecodable(Reason.NOT_LINEAR, f"{call.node.op} needs one constant and one activation")
    (name,) = constant_names
    activation = call.value("other" if name == "self" else "self")
    call.require_float(activation)
    constant = _numbers(call, name)
    require_finite(constant)
    shape = call.shape("other" if name == "self" else "self")
    return call.source("other" if name == "self" else "self"), with_rank_of(constant, shape), name


def _numbers(call: AtenCall, name: str) -> Array:
    argument = call.node.arguments[name]
    if not isinstance(argument, AtenValue):
        if isinstance(argument, bool) or not isinstance(argument, (int, float)):
            raise Undecodable(Reason.NOT_LINEAR, f"{name!r} is {argument!r}")
        return np.asarray(argument, np.float64)
    stored = call.constants.read(argument)
    if not isinstance(stored, Refusal) and not is_float(stored.dtype):
        if stored.dtype.is_complex or stored.ndim > 0:
            raise Undecodable(Reason.NOT_LINEAR, f"the constant is {stored.dtype}")
        return np.asarray(stored.item(), np.float64)
    return call.parameter(name, dynamic=Reason.DYNAMIC_PARAMETER)


def _statistics_are_used(call: AtenCall) -> bool:
    return any(value.readers or value.is_output for value in call.node.outputs[1:] if value is not None)


def has_statistics(call: AtenCall) -> bool:
    """Whether it keeps statistics."""
    return call.has("running_mean") and call.has("running_var")
