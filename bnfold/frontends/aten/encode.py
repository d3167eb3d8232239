"""From a meaning back to an operator: which arguments change, in its own layout, rounded once and checked."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

import numpy as np
import torch

from bnfold.affine import Array
from bnfold.errors import InternalError
from bnfold.frontends.aten.constants import Constants, numpy_dtype
from bnfold.frontends.aten.decoders.affine_maps import alpha, epsilon
from bnfold.frontends.aten.decoders.context import Context
from bnfold.frontends.aten.decoders.norms import first_layer
from bnfold.frontends.aten.graph import Node, Slot, Value, canonical, functional
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
class NodeEdit:
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

    node: Node
    parameters: Mapping[Slot, NewParameter]
    numbers: Mapping[str, float] = field(default_factory=dict)
    op: str = ""
    moved: Mapping[str, str] = field(default_factory=dict)
    added: Mapping[str, NewParameter] = field(default_factory=dict)
    bias_behind: NewParameter | None = None


def encode(node: Node, meaning: Meaning, constants: Constants) -> NodeEdit | Refusal:
    """The edit that gives a node this meaning.

    Returns:
        The edit; OVERFLOW or UNDERFLOW where the stored type cannot hold a new parameter; NO_BIAS where a recurrent
        operator has no bias.
    """
    context = Context(node, constants)
    match meaning:
        case Contraction():
            return _CONTRACTIONS[functional(node.op)](context, meaning)
        case Recurrent():
            return _recurrent(context, meaning)
        case Normalisation():
            return _normalisation(context, meaning)
        case Embedding():
            return _edit(context, {("weight", None): _parameter(context, "weight", meaning.values)})
        case AffineMap(form=Form.SCALE_AND_SHIFT):
            return _batch_norm(context, meaning)
        case AffineMap():
            return _arithmetic(context, meaning)
    raise InternalError(f"{node.op} cannot be given the meaning {type(meaning).__name__}")


def _conv(context: Context, meaning: Contraction) -> NodeEdit | Refusal:
    return _with_bias(context, meaning, stored_outputs_first)


def _conv_transpose(context: Context, meaning: Contraction) -> NodeEdit | Refusal:
    return _with_bias(context, meaning, stored_inputs_first)


def _convolution(context: Context, meaning: Contraction) -> NodeEdit | Refusal:
    return (_conv_transpose if context.fixed("transposed") else _conv)(context, meaning)


def _linear(context: Context, meaning: Contraction) -> NodeEdit | Refusal:
    return _with_bias(context, meaning, lambda weight: weight[0])


def _with_bias(context: Context, meaning: Contraction, layout: Layout) -> NodeEdit | Refusal:
    """An operator that has a place for a bias, filled or not."""
    parameters: dict[Slot, NewParameter | Refusal | None] = {
        ("weight", None): _weight(context, "weight", meaning, layout)
    }
    if meaning.bias is not None:
        like = "bias" if context.has("bias") else "weight"
        parameters["bias", None] = _parameter(context, like, bias_per_channel(meaning))
    return _edit(context, parameters)


def _addmm(context: Context, meaning: Contraction) -> NodeEdit | Refusal:
    if meaning.bias is None:
        raise InternalError(f"{context.node.label!r} lost its bias")
    had_rank_2 = context.constants.require(context.value("self")).ndim == 2
    bias = meaning.bias if had_rank_2 else meaning.bias.reshape(-1)
    parameters: _Parameters = {
        ("mat2", None): _weight(context, "mat2", meaning, lambda weight: weight[0].T),
        ("self", None): _parameter(context, "self", bias),
    }
    return _edit(context, parameters, numbers={"alpha": 1, "beta": 1})


def _mat_mul(context: Context, meaning: Contraction) -> NodeEdit | Refusal:
    right = "other" if "other" in context.node.arguments else "mat2"
    on_the_left = meaning.source == context.source(right)
    name = "self" if on_the_left else right
    copies = context.constants.require(context.value(name)).shape[:-2]

    def layout(weight: AnyArray) -> AnyArray:
        matrix = weight[0] if on_the_left else weight[0].T
        return np.broadcast_to(matrix, (*copies, *matrix.shape))

    parameters: _Parameters = {(name, None): _weight(context, name, meaning, layout)}
    if meaning.bias is None or not meaning.holds_bias:
        return _edit(context, parameters, bias_behind=_bias_behind(context, meaning))
    bias = _parameter(context, name, bias_per_channel(meaning))
    if isinstance(bias, Refusal):
        return bias
    return _edit(context, parameters, op="aten::addmm", moved={"mat1": "self", "mat2": right}, added={"self": bias})


def _einsum(context: Context, meaning: Contraction) -> NodeEdit | Refusal:
    slot = 1 - meaning.source
    outputs_first = parse_equation(str(context.fixed("equation"))).has_outputs_first(slot)
    dtype = context.constants.require(context.values("tensors")[slot]).dtype
    weight = new_weight(meaning, numpy_dtype(dtype), lambda weight: weight[0] if outputs_first else weight[0].T)
    return _edit(context, {("tensors", slot): weight}, bias_behind=_bias_behind(context, meaning))


def _bias_behind(context: Context, meaning: Contraction) -> NewParameter | Refusal | None:
    """The bias as an addition behind the node takes it, in the type of the node's result."""
    result = context.node.outputs[0]
    if meaning.bias is None or result is None or result.dtype is None:
        return None
    return _new(bias_along_output(meaning), result.dtype)


_CONTRACTIONS: dict[str, Callable[[Context, Contraction], NodeEdit | Refusal]] = {
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


def _recurrent(context: Context, meaning: Recurrent) -> NodeEdit | Refusal:
    """The input weights and the input half of the bias of the first layer, one direction after the other."""
    parameters, starts = context.values("params"), first_layer(context)
    if meaning.bias is not None and not context.fixed("has_biases"):
        return Refusal(Reason.NO_BIAS, f"{context.node.label!r} ({context.node.op}) has no biases")
    changes: dict[Slot, NewParameter | Refusal | None] = {}
    dtype = context.constants.require(parameters[starts[0]]).dtype
    weight = new_weight(meaning, numpy_dtype(dtype), lambda stored: stored)
    if isinstance(weight, Refusal):
        return weight
    for direction, start in enumerate(starts):
        changes["params", start] = NewParameter(weight.exact[direction], weight.rounded[direction])
        if meaning.bias is not None:
            changes["params", start + 2] = _new(meaning.bias[direction], dtype)
    return _edit(context, changes)


def _normalisation(context: Context, meaning: Normalisation) -> NodeEdit | Refusal:
    """The norm's own weight and bias, over the axes that they cover."""
    first, last = meaning.axes[0], meaning.axes[-1] + 1
    if context.node.op.endswith("layer_norm"):
        shape = tuple(context.fixed("normalized_shape"))
    else:
        shape = (max(meaning.affine.scale.shape[1], meaning.affine.shift.shape[1]),)
    parameters: dict[Slot, NewParameter | Refusal | None] = {}
    for name, values, neutral in (("weight", meaning.affine.scale, 1.0), ("bias", meaning.affine.shift, 0.0)):
        own = values.reshape(values.shape[first:last])
        if context.has(name) or np.any(own != neutral):
            parameters[name, None] = _new(np.broadcast_to(own, shape), _type_of(context, name, "weight", "bias"))
    return _edit(context, parameters)


def _batch_norm(context: Context, meaning: AffineMap) -> NodeEdit | Refusal:
    """Mean and variance stay; weight and bias take the change."""
    mean, variance = (
        context.parameter(name, dynamic=Reason.DYNAMIC_PARAMETER) for name in ("running_mean", "running_var")
    )
    vectors = meaning.affine.along(1)
    if vectors is None:
        raise InternalError(f"a map over several axes was to go into {context.node.label!r}")
    gamma, beta = scale_and_bias(vectors, mean, variance, epsilon(context))
    dtype = _type_of(context, "weight", "bias", "running_mean")
    return _edit(context, {("weight", None): _new(gamma, dtype), ("bias", None): _new(beta, dtype)})


def _arithmetic(context: Context, meaning: AffineMap) -> NodeEdit | Refusal:
    """mul, add and sub keep their operator; div becomes mul, because a scale may be zero."""
    node = context.node
    name = "other" if meaning.source == context.node.slots.index(("self", None)) else "self"
    values = meaning.affine.scale if meaning.form is Form.SCALE else meaning.affine.shift / _factor(context, name)
    old = node.arguments[name]
    stored = context.constants.require(old) if isinstance(old, Value) else None
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
        context,
        {} if is_number else {(name, None): parameter},
        numbers={name: float(parameter.rounded)} if is_number else {},
        op="aten::mul" if division else "",
        moved={"self": "self", "other": "other"} if division else {},
    )


def _factor(context: Context, name: str) -> float:
    """What the operator multiplies its constant by before it adds it."""
    op = canonical(functional(context.node.op))
    if op == "aten::rsub":
        return -alpha(context) if name == "self" else 1.0
    if name == "self":
        return 1.0
    return -alpha(context) if op == "aten::sub" else alpha(context)


def _edit(
    context: Context,
    parameters: _Parameters,
    *,
    numbers: Mapping[str, float] | None = None,
    op: str = "",
    moved: Mapping[str, str] | None = None,
    added: Mapping[str, NewParameter] | None = None,
    bias_behind: NewParameter | Refusal | None = None,
) -> NodeEdit | Refusal:
    new: dict[Slot, NewParameter] = {}
    for slot, parameter in parameters.items():
        if isinstance(parameter, Refusal):
            return parameter
        if parameter is not None:
            new[slot] = parameter
    if isinstance(bias_behind, Refusal):
        return bias_behind
    return NodeEdit(context.node, new, numbers or {}, op, moved or {}, added or {}, bias_behind)


def _weight(context: Context, name: str, meaning: Contraction, layout: Layout) -> NewParameter | Refusal:
    return new_weight(meaning, numpy_dtype(context.constants.require(context.value(name)).dtype), layout)


def _parameter(context: Context, like: str, exact: Array) -> NewParameter | Refusal:
    """A parameter of the type that another argument has."""
    return _new(exact, context.constants.require(context.value(like)).dtype)


def _new(exact: Array, dtype: torch.dtype) -> NewParameter | Refusal:
    return new_parameter(exact, numpy_dtype(dtype))


def _type_of(context: Context, *names: str) -> torch.dtype:
    """The type of the first of these arguments that is there, else that of the result."""
    for name in names:
        if context.has(name):
            return context.constants.require(context.value(name)).dtype
    result = context.node.outputs[0]
    if result is None or result.dtype is None:
        raise InternalError(f"the type of what {context.node.label!r} makes is not known")
    return result.dtype
