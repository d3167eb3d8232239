"""add, sub, rsub, mul and div: with a constant they are affine maps, otherwise they join branches."""

import numpy as np

from bnfold.affine import Array
from bnfold.errors import InternalError
from bnfold.frontends.aten.constants import is_float, numpy_dtype
from bnfold.frontends.aten.edit import AtenEdit
from bnfold.frontends.aten.node import AtenValue, Shape
from bnfold.frontends.aten.operators.attention import decode_added_mask
from bnfold.frontends.aten.operators.call import AtenCall
from bnfold.frontends.aten.operators.family import AtenFamily
from bnfold.frontends.aten.operators.parameters import edit_of, rounded
from bnfold.frontends.common.arithmetic import divided, require_finite, scaled, shifted
from bnfold.frontends.common.broadcasting import product_of, sum_of, with_leading_ones, with_rank_of
from bnfold.frontends.common.parameters import new_operand, without_leading_ones
from bnfold.frontends.common.undecodable import Undecodable
from bnfold.refusal import Reason, Refusal
from bnfold.semantics import AffineMap, BroadcastScale, Masking, Product, Sum

FAMILY = AtenFamily()


def encode_sum(call: AtenCall, meaning: AffineMap) -> AtenEdit | Refusal:
    """What the operator multiplies its constant by, before it adds it, comes out of the shift."""
    factor = _factors(call)[_which_is_constant(call, meaning)]
    return _new_operand(call, meaning, meaning.affine.shift / factor)


@FAMILY.operator("add", "sub", "subtract", "rsub", encode=encode_sum)
def decode_sum(call: AtenCall) -> AffineMap | Masking | Sum:
    """Sums and differences, of a constant on either side or of none. Source: torch.add, torch.sub."""
    factors = _factors(call)
    try:
        return _sum(call, factors)
    except Undecodable as stop:
        adds = stop.opaque.reason is Reason.NOT_FINITE and set(factors.values()) == {1.0}
        mask = decode_added_mask(call) if adds else None
        if mask is None:
            raise
        return mask


def _sum(call: AtenCall, factors: dict[str, float]) -> AffineMap | Sum:
    if _joins(call):
        if any(factor not in (1.0, -1.0) for factor in factors.values()):
            raise Undecodable(Reason.NOT_LINEAR, f"alpha is {call.fixed('alpha')}, only 1 and -1 are understood")
        return sum_of(_shapes(call), tuple(factors.values()))
    source, constant, name = _operands(call)
    if 0.0 in factors.values():
        raise Undecodable(Reason.NOT_LINEAR, "alpha is 0, so that one operand does not count")
    activation = "other" if name == "self" else "self"
    return shifted(factors[name] * constant, source, scale=factors[activation])


def _factors(call: AtenCall) -> dict[str, float]:
    """What each operand is multiplied by before they are added: alpha is of the second, in rsub of the first."""
    alpha = float(call.fixed("alpha")) if call.has("alpha") else 1.0
    if call.node.operator.functional == "aten::rsub":
        return {"self": -alpha, "other": 1.0}
    return {"self": 1.0, "other": alpha if call.node.operator.functional == "aten::add" else -alpha}


def encode_product(call: AtenCall, meaning: AffineMap | BroadcastScale) -> AtenEdit | Refusal:
    """The constant becomes the scale; a division becomes a product, because a scale may be zero."""
    if isinstance(meaning, BroadcastScale):
        return _new_factor(call, meaning)
    is_division = call.node.operator.decode is decode_div
    return _new_operand(call, meaning, meaning.affine.scale, op="aten::mul" if is_division else "")


def _new_factor(call: AtenCall, meaning: BroadcastScale) -> AtenEdit | Refusal:
    """A constant that is repeated over more than the other factor has; the result keeps its shape."""
    name = "other" if meaning.source == call.source("self") else "self"
    stored = call.node.arguments[name]
    old = call.constants.require(stored) if isinstance(stored, AtenValue) else None
    values = meaning.values if old is None else without_leading_ones(meaning.values, old.ndim)
    if old is None or values.shape != tuple(old.shape):  # the result's shape is noted in the program, and on readers
        return Refusal(Reason.WRONG_AXIS, f"the result of {call.node.op} would have to grow, and keeps its shape")
    return edit_of(call, {(name, None): rounded(values, old.dtype)})


@FAMILY.operator("mul", "multiply", encode=encode_product)
def decode_mul(call: AtenCall) -> AffineMap | BroadcastScale | Product:
    """Product with a constant, on either side, or of two tensors. Source: torch.mul."""
    if _joins(call):
        return product_of(_shapes(call))
    try:
        source, constant, _ = _operands(call)
    except Undecodable as stop:
        if stop.opaque.reason is not Reason.BROADCASTS_ACTIVATION:
            raise
        return _broadcast_scale(call)
    return scaled(constant, source)


def _broadcast_scale(call: AtenCall) -> BroadcastScale:
    """A constant that is larger than the tensor that it multiplies."""
    name, constant = ("other", "self") if call.is_constant(call.node.arguments["self"]) else ("self", "other")
    values, shape = _numbers(call, constant), call.shape(name)
    require_finite(values)
    return BroadcastScale(with_leading_ones(values, max(values.ndim, len(shape))), call.source(name))


@FAMILY.operator("div", "divide", "true_divide", encode=encode_product)
def decode_div(call: AtenCall) -> AffineMap:
    """Division by a constant; a constant divided by x is not affine, a rounded quotient neither. Source: torch.div."""
    if call.fixed("rounding_mode") is not None:
        raise Undecodable(Reason.NOT_LINEAR, f"the quotient is rounded ({call.fixed('rounding_mode')})")
    source, constant, name = _operands(call)
    if name == "self":
        raise Undecodable(Reason.NOT_LINEAR, "a constant divided by the activation is not affine")
    return divided(constant, source)


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


def _operands(call: AtenCall) -> tuple[int, Array, str]:
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


def _shapes(call: AtenCall) -> list[Shape]:
    call.require_float(call.value("self"), call.value("other"))
    return [call.shape("self"), call.shape("other")]


def _joins(call: AtenCall) -> bool:
    """Whether both operands are computed at run time; a constant that may not be used is another matter."""
    return not any(call.is_constant(call.node.arguments.get(name)) for name in ("self", "other"))
