"""Convolutions and products with a constant matrix, in their own layouts."""

from collections.abc import Mapping
from typing import TypeAlias

import numpy as np

from bnfold.errors import InternalError
from bnfold.frontends.aten.constants import numpy_dtype
from bnfold.frontends.aten.decoders.call import AtenCall
from bnfold.frontends.aten.edit import AtenEdit
from bnfold.frontends.aten.encoders.parameters import edit_of, parameter_like, rounded, weight_of
from bnfold.frontends.aten.graph import Slot
from bnfold.frontends.common.convolutions import stored_inputs_first, stored_outputs_first
from bnfold.frontends.common.einsum import parse_equation
from bnfold.frontends.common.parameters import Layout, NewParameter, bias_along_output, bias_per_channel, new_weight
from bnfold.frontends.common.precision import AnyArray
from bnfold.refusal import Refusal
from bnfold.semantics import Contraction

_Parameters: TypeAlias = Mapping[Slot, NewParameter | Refusal | None]


def encode_conv(call: AtenCall, meaning: Contraction) -> AtenEdit | Refusal:
    """conv1d, conv2d, conv3d: the weight is (outputs, inputs / groups, *kernel)."""
    return _with_bias(call, meaning, stored_outputs_first)


def encode_conv_transpose(call: AtenCall, meaning: Contraction) -> AtenEdit | Refusal:
    """conv_transpose1d, 2d, 3d: the weight is (inputs, outputs / groups, *kernel)."""
    return _with_bias(call, meaning, stored_inputs_first)


def encode_convolution(call: AtenCall, meaning: Contraction) -> AtenEdit | Refusal:
    """Operators convolution and _convolution: both directions in one operator."""
    return (encode_conv_transpose if call.fixed("transposed") else encode_conv)(call, meaning)


def encode_linear(call: AtenCall, meaning: Contraction) -> AtenEdit | Refusal:
    """The weight is (outputs, inputs)."""
    return _with_bias(call, meaning, lambda weight: weight[0])


def _with_bias(call: AtenCall, meaning: Contraction, layout: Layout) -> AtenEdit | Refusal:
    """An operator that has a place for a bias, filled or not."""
    parameters: dict[Slot, NewParameter | Refusal | None] = {
        ("weight", None): weight_of(call, "weight", meaning, layout)
    }
    if meaning.bias is not None:
        like = "bias" if call.has("bias") else "weight"
        parameters["bias", None] = parameter_like(call, like, bias_per_channel(meaning))
    return edit_of(call, parameters)


def encode_addmm(call: AtenCall, meaning: Contraction) -> AtenEdit | Refusal:
    """The weight is the transposed `mat2`, the bias is `self`; alpha and beta become 1."""
    if meaning.bias is None:
        raise InternalError(f"{call.node.label!r} lost its bias")
    had_rank_2 = call.constants.require(call.value("self")).ndim == 2
    bias = meaning.bias if had_rank_2 else meaning.bias.reshape(-1)
    parameters: _Parameters = {
        ("mat2", None): weight_of(call, "mat2", meaning, lambda weight: weight[0].T),
        ("self", None): parameter_like(call, "self", bias),
    }
    return edit_of(call, parameters, numbers={"alpha": 1, "beta": 1})


def encode_mat_mul(call: AtenCall, meaning: Contraction) -> AtenEdit | Refusal:
    """matmul, mm and bmm; where rank 2 needs a bias, addmm takes their place, else an addition follows."""
    right = "other" if "other" in call.node.arguments else "mat2"
    on_the_left = meaning.source == call.source(right)
    name = "self" if on_the_left else right
    copies = call.constants.require(call.value(name)).shape[:-2]

    def layout(weight: AnyArray) -> AnyArray:
        matrix = weight[0] if on_the_left else weight[0].T
        return np.broadcast_to(matrix, (*copies, *matrix.shape))

    parameters: _Parameters = {(name, None): weight_of(call, name, meaning, layout)}
    if meaning.bias is None or not meaning.holds_bias:
        return edit_of(call, parameters, bias_behind=_bias_behind(call, meaning))
    bias = parameter_like(call, name, bias_per_channel(meaning))
    if isinstance(bias, Refusal):
        return bias
    return edit_of(call, parameters, op="aten::addmm", moved={"mat1": "self", "mat2": right}, added={"self": bias})


def encode_einsum(call: AtenCall, meaning: Contraction) -> AtenEdit | Refusal:
    """The matrix in the order of its letters; an addition behind takes a bias."""
    slot = 1 - meaning.source
    outputs_first = parse_equation(str(call.fixed("equation"))).has_outputs_first(slot)
    dtype = call.constants.require(call.values("tensors")[slot]).dtype
    weight = new_weight(meaning, numpy_dtype(dtype), lambda weight: weight[0] if outputs_first else weight[0].T)
    return edit_of(call, {("tensors", slot): weight}, bias_behind=_bias_behind(call, meaning))


def _bias_behind(call: AtenCall, meaning: Contraction) -> NewParameter | Refusal | None:
    """The bias as an addition behind the node takes it, in the type of the node's result."""
    result = call.node.outputs[0]
    if meaning.bias is None or result is None or result.dtype is None:
        return None
    return rounded(bias_along_output(meaning), result.dtype)
