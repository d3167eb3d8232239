"""From a meaning back to an operator: which arguments change, in its own layout, rounded once and checked."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

import numpy as np
import torch

from bnfold.affine import Array
from bnfold.errors import InternalError
from bnfold.frontends.aten.constants import AtenConstants, numpy_dtype
from bnfold.frontends.aten.decoders.affine_maps import alpha, epsilon
from bnfold.frontends.aten.decoders.call import AtenCall
from bnfold.frontends.aten.decoders.norms import first_layer
from bnfold.frontends.aten.graph import AtenNode, AtenValue, Slot, canonical, functional
from bnfold.frontends.common.batch_norms import scale_and_bias
from bnfold.frontends.common.convolutions import stored_inputs_first, stored_outputs_first
from bnfold.frontends.common.einsum import parse_equation
from bnfold.frontends.common.parameters import (
    Layout,
    NewParameter,
    bias_along_output,
    bias_per_channel,
    new_operand,
    new_parameter,
    new_weight,
    without_leading_ones,
)
from bnfold.frontends.common.precision import AnyArray
from bnfold.refusal import Reason, Refusal
from bnfold.semantics import AffineMap, Contraction, Embedding, Form, Meaning, Normalisation, Recurrent

_Parameters: TypeAlias = Mapping[Slot, NewParameter | Refusal | None]


@dataclass(frozen=True, eq=False)
class AtenEdit:
    """A change of one node that can be carried out without further questions.

    Attributes:
        node: the node.
        parameters: new values of tensors by slot, also where there was None or a number.
        numbers: arguments that become plain numbers.
        op: what the operator becomes; "" leaves it.
        moved: where it becomes another: its arguments, by the names that they have now.
        added: where it becomes another: tensors that it did not have.
        bias_behind: what an addition right behind the node adds; None where there is none.
    """

    node: AtenNode
    parameters: Mapping[Slot, NewParameter]
    numbers: Mapping[str, float] = field(default_factory=dict)
    op: str = ""
    moved: Mapping[str, str] = field(default_factory=dict)
    added: Mapping[str, NewParameter] = field(default_factory=dict)
    bias_behind: NewParameter | None = None


def encode(node: AtenNode, meaning: Meaning, constants: AtenConstants) -> AtenEdit | Refusal:
    """The edit that gives a node this meaning.

    Returns:
        The edit; OVERFLOW or UNDERFLOW where the stored type cannot hold a new parameter; NO_BIAS where a recurrent
        operator has no bias.
    """
    call = AtenCall(node, constants)
    match meaning:
        case Contraction():
            return _CONTRACTIONS[functional(node.op)](call, meaning)
        case Recurrent():
            return _recurrent(call, meaning)
        case Normalisation():
            return _normalisation(call, meaning)
        case Embedding():
            return _edit(call, {("weight", None): _parameter(call, "weight", meaning.values)})
        case AffineMap(form=Form.SCALE_AND_SHIFT):
            return _batch_norm(call, meaning)
        case AffineMap():
            return _arithmetic(call, meaning)
    raise InternalError(f"{node.op} cannot be given the meaning {type(meaning).__name__}")


def _conv(call: AtenCall, meaning: Contraction) -> AtenEdit | Refusal:
    return _with_bias(call, meaning, stored_outputs_first)


def _conv_transpose(call: AtenCall, meaning: Contraction) -> AtenEdit | Refusal:
    return _with_bias(call, meaning, stored_inputs_first)


def _convolution(call: AtenCall, meaning: Contraction) -> AtenEdit | Refusal:
    return (_conv_transpose if call.fixed("transposed") else _conv)(call, meaning)


def _linear(call: AtenCall, meaning: Contraction) -> AtenEdit | Refusal:
    return _with_bias(call, meaning, lambda weight: weight[0])


def _with_bias(call: AtenCall, meaning: Contraction, layout: Layout) -> AtenEdit | Refusal:
    """An operator that has a place for a bias, filled or not."""
    parameters: dict[Slot, NewParameter | Refusal | None] = {("weight", None): _weight(call, "weight", meaning, layout)}
    if meaning.bias is not None:
        like = "bias" if call.has("bias") else "weight"
        parameters["bias", None] = _parameter(call, like, bias_per_channel(meaning))
    return _edit(call, parameters)


def _addmm(call: AtenCall, meaning: Contraction) -> AtenEdit | Refusal:
    if meaning.bias is None:
        raise InternalError(f"{call.node.label!r} lost its bias")
    had_rank_2 = call.constants.require(call.value("self")).ndim == 2
    bias = meaning.bias if had_rank_2 else meaning.bias.reshape(-1)
    parameters: _Parameters = {
        ("mat2", None): _weight(call, "mat2", meaning, lambda weight: weight[0].T),
        ("self", None): _parameter(call, "self", bias),
    }
    return _edit(call, parameters, numbers={"alpha": 1, "beta": 1})


def _mat_mul(call: AtenCall, meaning: Contraction) -> AtenEdit | Refusal:
    right = "other" if "other" in call.node.arguments else "mat2"
    on_the_left = meaning.source == call.source(right)
    name = "self" if on_the_left else right
    copies = call.constants.require(call.value(name)).shape[:-2]

    def layout(weight: AnyArray) -> AnyArray:
        matrix = weight[0] if on_the_left else weight[0].T
        return np.broadcast_to(matrix, (*copies, *matrix.shape))

    parameters: _Parameters = {(name, None): _weight(call, name, meaning, layout)}
    if meaning.bias is None or not meaning.holds_bias:
        return _edit(call, parameters, bias_behind=_bias_behind(call, meaning))
    bias = _parameter(call, name, bias_per_channel(meaning))
    if isinstance(bias, Refusal):
        return bias
    return _edit(call, parameters, op="aten::addmm", moved={"mat1": "self", "mat2": right}, added={"self": bias})


def _einsum(call: AtenCall, meaning: Contraction) -> AtenEdit | Refusal:
    slot = 1 - meaning.source
    outputs_first = parse_equation(str(call.fixed("equation"))).has_outputs_first(slot)
    dtype = call.constants.require(call.values("tensors")[slot]).dtype
    weight = new_weight(meaning, numpy_dtype(dtype), lambda weight: weight[0] if outputs_first else weight[0].T)
    return _edit(call, {("tensors", slot): weight}, bias_behind=_bias_behind(call, meaning))


def _bias_behind(call: AtenCall, meaning: Contraction) -> NewParameter | Refusal | None:
    """The bias as an addition behind the node takes it, in the type of the node's result."""
    result = call.node.outputs[0]
    if meaning.bias is None or result is None or result.dtype is None:
        return None
    return _new(bias_along_output(meaning), result.dtype)


_CONTRACTIONS: dict[str, Callable[[AtenCall, Contraction], AtenEdit | Refusal]] = {
    "aten::_convolution": _convolution,
    "aten::addmm": _addmm,
    "aten::bmm": _mat_mul,
    "aten::conv1d": _conv,
    "aten::conv2d": _conv,
    "aten::conv3d": _conv,
    "aten::conv_transpose1d": _conv_transpose,
    "aten::conv_transpose2d": _conv_transpose,
    "aten::conv_transpose3d": _conv_transpose,
    "aten::convolution": _convolution,
    "aten::einsum": _einsum,
    "aten::linear": _linear,
    "aten::matmul": _mat_mul,
    "aten::mm": _mat_mul,
}


def _recurrent(call: AtenCall, meaning: Recurrent) -> AtenEdit | Refusal:
    """The input weights and the input half of the bias of the first layer, one direction after the other."""
    parameters, starts = call.values("params"), first_layer(call)
    if meaning.bias is not None and not call.fixed("has_biases"):
        return Refusal(Reason.NO_BIAS, f"{call.node.label!r} ({call.node.op}) has no biases")
    changes: dict[Slot, NewParameter | Refusal | None] = {}
    dtype = call.constants.require(parameters[starts[0]]).dtype
    weight = new_weight(meaning, numpy_dtype(dtype), lambda stored: stored)
    if isinstance(weight, Refusal):
        return weight
    for direction, start in enumerate(starts):
        changes["params", start] = NewParameter(weight.exact[direction], weight.rounded[direction])
        if meaning.bias is not None:
            changes["params", start + 2] = _new(meaning.bias[direction], dtype)
    return _edit(call, changes)


def _normalisation(call: AtenCall, meaning: Normalisation) -> AtenEdit | Refusal:
    """The norm's own weight and bias, over the axes that they cover."""
    first, last = meaning.axes[0], meaning.axes[-1] + 1
    if call.node.op.endswith("layer_norm"):
        shape = tuple(call.fixed("normalized_shape"))
    else:
        shape = (max(meaning.affine.scale.shape[1], meaning.affine.shift.shape[1]),)
    parameters: dict[Slot, NewParameter | Refusal | None] = {}
    for name, values, neutral in (("weight", meaning.affine.scale, 1.0), ("bias", meaning.affine.shift, 0.0)):
        own = values.reshape(values.shape[first:last])
        if call.has(name) or np.any(own != neutral):
            parameters[name, None] = _new(np.broadcast_to(own, shape), _type_of(call, name, "weight", "bias"))
    return _edit(call, parameters)


def _batch_norm(call: AtenCall, meaning: AffineMap) -> AtenEdit | Refusal:
    """Mean and variance stay; weight and bias take the change."""
    mean, variance = (
        call.parameter(name, dynamic=Reason.DYNAMIC_PARAMETER) for name in ("running_mean", "running_var")
    )
    vectors = meaning.affine.along(1)
    if vectors is None:
        raise InternalError(f"a map over several axes was to go into {call.node.label!r}")
    gamma, beta = scale_and_bias(vectors, mean, variance, epsilon(call))
    dtype = _type_of(call, "weight", "bias", "running_mean")
    return _edit(call, {("weight", None): _new(gamma, dtype), ("bias", None): _new(beta, dtype)})


def _arithmetic(call: AtenCall, meaning: AffineMap) -> AtenEdit | Refusal:
    """mul, add and sub keep their operator; div becomes mul, because a scale may be zero."""
    node = call.node
    name = "other" if meaning.source == call.node.slots.index(("self", None)) else "self"
    values = meaning.affine.scale if meaning.form is Form.SCALE else meaning.affine.shift / _factor(call, name)
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
    division = canonical(functional(node.op)) == "aten::div"
    return _edit(
        call,
        {} if is_number else {(name, None): parameter},
        numbers={name: float(parameter.rounded)} if is_number else {},
        op="aten::mul" if division else "",
        moved={"self": "self", "other": "other"} if division else {},
    )


def _factor(call: AtenCall, name: str) -> float:
    """What the operator multiplies its constant by before it adds it."""
    op = canonical(functional(call.node.op))
    if op == "aten::rsub":
        return -alpha(call) if name == "self" else 1.0
    if name == "self":
        return 1.0
    return -alpha(call) if op == "aten::sub" else alpha(call)


def _edit(
    call: AtenCall,
    parameters: _Parameters,
    *,
    numbers: Mapping[str, float] | None = None,
    op: str = "",
    moved: Mapping[str, str] | None = None,
    added: Mapping[str, NewParameter] | None = None,
    bias_behind: NewParameter | Refusal | None = None,
) -> AtenEdit | Refusal:
    new: dict[Slot, NewParameter] = {}
    for slot, parameter in parameters.items():
        if isinstance(parameter, Refusal):
            return parameter
        if parameter is not None:
            new[slot] = parameter
    if isinstance(bias_behind, Refusal):
        return bias_behind
    return AtenEdit(call.node, new, numbers or {}, op, moved or {}, added or {}, bias_behind)


def _weight(call: AtenCall, name: str, meaning: Contraction, layout: Layout) -> NewParameter | Refusal:
    return new_weight(meaning, numpy_dtype(call.constants.require(call.value(name)).dtype), layout)


def _parameter(call: AtenCall, like: str, exact: Array) -> NewParameter | Refusal:
    """A parameter of the type that another argument has."""
    return _new(exact, call.constants.require(call.value(like)).dtype)


def _new(exact: Array, dtype: torch.dtype) -> NewParameter | Refusal:
    return new_parameter(exact, numpy_dtype(dtype))


def _type_of(call: AtenCall, *names: str) -> torch.dtype:
    """The type of the first of these arguments that is there, else that of the result."""
    for name in names:
        if call.has(name):
            return call.constants.require(call.value(name)).dtype
    result = call.node.outputs[0]
    if result is None or result.dtype is None:
        raise InternalError(f"the type of what {call.node.label!r} makes is not known")
    return result.dtype
