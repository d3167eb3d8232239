"""Batch normalisation, and mul, add, sub, div by a constant, read as affine maps."""

import numpy as np

from bnfold.affine import Array
from bnfold.frontends.aten.constants import is_float
from bnfold.frontends.aten.decoders.call import AtenCall
from bnfold.frontends.aten.graph import AtenValue
from bnfold.frontends.common.arithmetic import divided, require_finite, scaled, shifted
from bnfold.frontends.common.batch_norms import read_batch_norm, require_channels, require_vectors
from bnfold.frontends.common.broadcasting import with_rank_of
from bnfold.frontends.common.undecodable import IF_MEANT_FOR_INFERENCE, Undecodable
from bnfold.refusal import Reason, Refusal
from bnfold.semantics import AffineMap

_EXPORT_IN_EVAL_MODE = f"{IF_MEANT_FOR_INFERENCE}, or give --assume-inference"


def decode_batch_norm(call: AtenCall) -> AffineMap:
    """A batch_norm that a flag lets train; one that keeps no statistics always takes those of the batch.

    Weight and bias may be absent, statistics may not.

    Source: torch.nn.functional.batch_norm; aten/src/ATen/native/native_functions.yaml
    """
    if call.fixed("training") or not has_statistics(call):
        return decode_training_batch_norm(call)
    return decode_inference_batch_norm(call)


def decode_training_batch_norm(call: AtenCall) -> AffineMap:
    """A batch_norm that takes its statistics from the batch is no affine map."""
    if _statistics_are_used(call):
        raise Undecodable(Reason.TRAINING_MODE, "it takes its statistics from the batch, and they are used")
    if not has_statistics(call):
        raise Undecodable(Reason.TRAINING_MODE, "it keeps no statistics, and always takes those of the batch")
    raise Undecodable(Reason.TRAINING_MODE, "it takes its statistics from the batch", _EXPORT_IN_EVAL_MODE)


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
