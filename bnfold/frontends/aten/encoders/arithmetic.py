"""mul, add, sub and div by a constant."""

from bnfold.affine import Array
from bnfold.errors import InternalError
from bnfold.frontends.aten.constants import numpy_dtype
from bnfold.frontends.aten.decoders.affine_maps import alpha
from bnfold.frontends.aten.decoders.call import AtenCall
from bnfold.frontends.aten.edit import AtenEdit
from bnfold.frontends.aten.encoders.parameters import edit_of
from bnfold.frontends.aten.graph import AtenValue
from bnfold.frontends.common.parameters import new_operand, without_leading_ones
from bnfold.refusal import Refusal
from bnfold.semantics import AffineMap


def encode_mul(call: AtenCall, meaning: AffineMap) -> AtenEdit | Refusal:
    """The constant becomes the scale."""
    return _operand(call, meaning, meaning.affine.scale)


def encode_div(call: AtenCall, meaning: AffineMap) -> AtenEdit | Refusal:
    """A division becomes a product, because a scale may be zero."""
    return _operand(call, meaning, meaning.affine.scale, op="aten::mul")


def encode_add(call: AtenCall, meaning: AffineMap) -> AtenEdit | Refusal:
    """Self + alpha * other."""
    return _shift(call, meaning, 1.0, alpha(call))


def encode_sub(call: AtenCall, meaning: AffineMap) -> AtenEdit | Refusal:
    """Self - alpha * other."""
    return _shift(call, meaning, 1.0, -alpha(call))


def encode_rsub(call: AtenCall, meaning: AffineMap) -> AtenEdit | Refusal:
    """Other - alpha * self."""
    return _shift(call, meaning, -alpha(call), 1.0)


def _shift(call: AtenCall, meaning: AffineMap, of_self: float, of_other: float) -> AtenEdit | Refusal:
    """What the operator multiplies its constant by, before it adds it, comes out of the shift."""
    return _operand(call, meaning, meaning.affine.shift / (of_self if _constant(call, meaning) == "self" else of_other))


def _operand(call: AtenCall, meaning: AffineMap, values: Array, op: str = "") -> AtenEdit | Refusal:
    """The constant operand with new values, in its own form: a number stays one, if one number is enough."""
    node, name = call.node, _constant(call, meaning)
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


def _constant(call: AtenCall, meaning: AffineMap) -> str:
    """Which operand is the constant."""
    return "other" if meaning.source == call.source("self") else "self"
