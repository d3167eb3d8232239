"""From a meaning back to a node: which parameters change, in the node's own layout, rounded once and checked."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from bnfold.affine import Array
from bnfold.errors import InternalError
from bnfold.frontends.common.batch_norms import scale_and_bias
from bnfold.frontends.common.convolutions import stored_inputs_first, stored_outputs_first
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
from bnfold.frontends.onnx.attributes import DEFAULT_EPSILON, attribute, equation
from bnfold.frontends.onnx.constants import OnnxConstants
from bnfold.frontends.onnx.graph import OnnxNode
from bnfold.frontends.onnx.requantize import Requantized, dequantizer, requantized
from bnfold.refusal import Reason, Refusal
from bnfold.semantics import AffineMap, Contraction, Embedding, Form, Meaning, Normalisation, Recurrent

# Of Conv, ConvTranspose and Gemm.
_BIAS = 2
# What float64 may lose on the way.
_LOST = 1e-12


@dataclass(frozen=True, eq=False)
class OnnxEdit:
    """A change of one node that can be carried out without further questions.

    Attributes:
        node: the node.
        parameters: new values by input index; an index past the last input adds that input.
        op_type: what the operator becomes; "" leaves it.
        factors: float attributes to set, where the node has them: factors that the parameters now contain.
        bias_behind: what an Add right behind the node adds; None where there is none.
        requantized: other inputs of the DequantizeLinear nodes that make the node's parameters.
    """

    node: OnnxNode
    parameters: Mapping[int, NewParameter]
    op_type: str = ""
    factors: Mapping[str, float] = field(default_factory=dict)
    bias_behind: NewParameter | None = None
    requantized: Sequence[Requantized] = ()


def encode(node: OnnxNode, meaning: Meaning, constants: OnnxConstants) -> OnnxEdit | Refusal:
    """The edit that gives a node this meaning.

    Returns:
        The edit; OVERFLOW or UNDERFLOW where the stored type cannot hold a new parameter.
    """
    match meaning:
        case Contraction():
            return _CONTRACTIONS[node.proto.op_type](node, meaning, constants)
        case Recurrent():
            return _recurrent(node, meaning, constants)
        case Normalisation():
            return _normalisation(node, meaning, constants)
        case Embedding():
            return _table(node, meaning, constants)
        case AffineMap(form=Form.SCALE_AND_SHIFT):
            return _batch_norm(node, meaning, constants)
        case AffineMap():
            return _arithmetic(node, meaning, constants)
    raise InternalError(f"{node.op} cannot be given the meaning {type(meaning).__name__}")


def _conv(node: OnnxNode, meaning: Contraction, constants: OnnxConstants) -> OnnxEdit | Refusal:
    return _convolution(node, meaning, constants, stored_outputs_first)


def _conv_transpose(node: OnnxNode, meaning: Contraction, constants: OnnxConstants) -> OnnxEdit | Refusal:
    return _convolution(node, meaning, constants, stored_inputs_first)


def _convolution(node: OnnxNode, meaning: Contraction, constants: OnnxConstants, layout: Layout) -> OnnxEdit | Refusal:
    bias = None if meaning.bias is None else _bias(node, bias_per_channel(meaning), constants)
    return _edit(node, {1: _weight(node, meaning, constants, layout), 2: bias}, constants)


def _gemm(node: OnnxNode, meaning: Contraction, constants: OnnxConstants) -> OnnxEdit | Refusal:
    outputs_first = attribute(node, "transB", 0)
    weight = _weight(node, meaning, constants, lambda stored: stored[0] if outputs_first else stored[0].T)
    bias = _bias(node, _gemm_bias(node, meaning, constants), constants)
    return _edit(node, {1: weight, 2: bias}, constants, factors={"alpha": 1.0, "beta": 1.0})


def _mat_mul(node: OnnxNode, meaning: Contraction, constants: OnnxConstants) -> OnnxEdit | Refusal:
    slot = 1 - meaning.source
    weight = _weight(node, meaning, constants, lambda stored: stored[0].T if slot else stored[0], slot=slot)
    if meaning.bias is None:
        return _edit(node, {slot: weight}, constants)
    if meaning.holds_bias:
        bias = _bias(node, bias_per_channel(meaning), constants)
        return _edit(node, {slot: weight, 2: bias}, constants, op_type="Gemm")
    bias = _bias(node, bias_along_output(meaning), constants, like=slot)
    return _edit(node, {slot: weight}, constants, bias_behind=bias)


def _einsum(node: OnnxNode, meaning: Contraction, constants: OnnxConstants) -> OnnxEdit | Refusal:
    slot = 1 - meaning.source
    outputs_first = equation(node).has_outputs_first(slot)
    weight = _weight(node, meaning, constants, lambda stored: stored[0] if outputs_first else stored[0].T, slot=slot)
    if meaning.bias is None:
        return _edit(node, {slot: weight}, constants)
    bias = _bias(node, bias_along_output(meaning), constants, like=slot)
    return _edit(node, {slot: weight}, constants, bias_behind=bias)


_CONTRACTIONS: dict[str, Callable[[OnnxNode, Contraction, OnnxConstants], OnnxEdit | Refusal]] = {
    "Conv": _conv,
    "ConvTranspose": _conv_transpose,
    "Einsum": _einsum,
    "Gemm": _gemm,
    "MatMul": _mat_mul,
}


def _recurrent(node: OnnxNode, meaning: Recurrent, constants: OnnxConstants) -> OnnxEdit | Refusal:
    """B holds the input half and the recurrent half side by side; only the first has changed."""
    weight = _weight(node, meaning, constants, lambda stored: stored)
    if meaning.bias is None:
        return _edit(node, {1: weight}, constants)
    rest = np.zeros_like(meaning.bias)
    if _has_input(node, 3):
        rest = constants.require_exact(node.inputs[3])[:, meaning.bias.shape[1] :]
    both = np.concatenate([meaning.bias, rest], axis=1)
    return _edit(node, {1: weight, 3: _parameter(node, 3 if _has_input(node, 3) else 1, both, constants)}, constants)


def _normalisation(node: OnnxNode, meaning: Normalisation, constants: OnnxConstants) -> OnnxEdit | Refusal:
    """The norm's own scale and bias, over the axes that its scale covered before."""
    covered = constants.require(node.inputs[1])
    first = meaning.affine.rank - covered.ndim if node.proto.op_type == "LayerNormalization" else 1
    own = slice(first, first + covered.ndim)
    scale, bias = meaning.affine.scale, meaning.affine.shift
    shape = np.broadcast_shapes(covered.shape, scale.shape[own], bias.shape[own])
    parameters: dict[int, NewParameter | Refusal | None] = {
        1: _parameter(node, 1, np.broadcast_to(scale.reshape(scale.shape[own]), shape), constants)
    }
    if _has_input(node, 2) or meaning.affine.has_shift:
        like = 2 if _has_input(node, 2) else 1
        parameters[2] = _parameter(node, like, np.broadcast_to(bias.reshape(bias.shape[own]), shape), constants)
    return _edit(node, parameters, constants)


def _table(node: OnnxNode, meaning: Embedding, constants: OnnxConstants) -> OnnxEdit | Refusal:
    return _edit(node, {0: _parameter(node, 0, meaning.values, constants)}, constants)


def _batch_norm(node: OnnxNode, meaning: AffineMap, constants: OnnxConstants) -> OnnxEdit | Refusal:
    """Mean and variance stay; scale and bias take the change."""
    mean, variance = (constants.require(node.inputs[slot]).astype(np.float64) for slot in (3, 4))
    vectors = meaning.affine.along(1)
    if vectors is None:
        raise InternalError(f"a map over several axes was to go into {node.label!r}")
    gamma, beta = scale_and_bias(vectors, mean, variance, attribute(node, "epsilon", DEFAULT_EPSILON))
    return _edit(
        node, {slot: _parameter(node, slot, exact, constants) for slot, exact in ((1, gamma), (2, beta))}, constants
    )


def _arithmetic(node: OnnxNode, meaning: AffineMap, constants: OnnxConstants) -> OnnxEdit | Refusal:
    """Mul, Add and Sub keep their operator; Div becomes Mul, because a scale may be zero."""
    slot = 1 - meaning.source
    old = constants.require(node.inputs[slot])
    values = without_leading_ones(_operand(node, meaning), old.ndim)
    op_type = "Mul" if node.proto.op_type == "Div" else ""
    parameter = new_operand(values, old.dtype, meaning.form)
    return _edit(node, {slot: parameter}, constants, op_type=op_type)


def _operand(node: OnnxNode, meaning: AffineMap) -> Array:
    if meaning.form is Form.SCALE:
        return meaning.affine.scale
    subtracts_constant = node.proto.op_type == "Sub" and meaning.source == 0
    return -meaning.affine.shift if subtracts_constant else meaning.affine.shift


def _edit(
    node: OnnxNode,
    parameters: Mapping[int, NewParameter | Refusal | None],
    constants: OnnxConstants,
    *,
    op_type: str = "",
    factors: Mapping[str, float] | None = None,
    bias_behind: NewParameter | Refusal | None = None,
) -> OnnxEdit | Refusal:
    if isinstance(bias_behind, Refusal):
        return bias_behind
    new: dict[int, NewParameter] = {}
    integers = _Integers(node, constants)
    for slot, parameter in parameters.items():
        if isinstance(parameter, Refusal):
            return parameter
        quantized = dequantizer(node.inputs[slot]) if _has_input(node, slot) else None
        if parameter is not None and quantized is None:
            new[slot] = parameter
        elif parameter is not None and quantized is not None:
            refusal = integers.change(quantized, slot, parameter)
            if refusal is not None:
                return refusal
    return OnnxEdit(node, new, op_type, factors or {}, bias_behind or integers.behind, integers.changes)


class _Integers:
    """The parameters of a node that are stored as integers, one after the other: the weight before the bias.

    Attributes:
        changes: of the nodes that dequantise them.
        behind: what an integer bias could not take, to be added behind the node.
    """

    def __init__(self, node: OnnxNode, constants: OnnxConstants) -> None:
        self._node, self._constants = node, constants
        self.changes: list[Requantized] = []
        self.behind: NewParameter | None = None

    def change(self, quantized: OnnxNode, slot: int, parameter: NewParameter) -> Refusal | None:
        """Let one take new values; the refusal where it cannot."""
        if parameter.dead_channels:
            return Refusal(Reason.UNDERFLOW, f"{parameter.dead_channels} scales of {quantized.label!r} would be 0")
        if slot == _BIAS and dequantizer(self._node.inputs[1]) is not None:
            return self._change_bias(quantized, parameter.exact)
        return self._requantize(quantized, slot, parameter.exact)

    def _change_bias(self, quantized: OnnxNode, new: Array) -> Refusal | None:
        """A bias beside an integer weight takes the weight's factors: runtimes multiply the scales of input and weight
        to get that of the bias. What is left of the shift is added behind the node.
        """
        old = self._constants.require_exact(self._node.inputs[_BIAS])
        factors = np.ravel(self.changes[0].factors) if self.changes else np.ones(1)
        if factors.size not in (1, old.size) or attribute(self._node, "beta", 1.0) != 1.0:
            return _no_shift(quantized)
        scaled = old * factors
        refusal = self._requantize(quantized, _BIAS, scaled)
        rest = new - scaled
        if refusal is not None or np.all(np.abs(rest) <= _LOST * np.abs(new)):
            return refusal
        axes = self._constants.require(self._node.inputs[1]).ndim - 2  # those of places, of which a matrix has none
        dtype = self._constants.require(self._node.inputs[_BIAS]).dtype
        behind = new_parameter(rest.reshape(-1, *(1,) * axes), dtype)
        if isinstance(behind, Refusal):
            return behind
        self.behind = behind
        return None

    def _requantize(self, quantized: OnnxNode, slot: int, new: Array) -> Refusal | None:
        change = requantized(quantized, slot, self._constants.require(self._node.inputs[slot]), new, self._constants)
        if isinstance(change, Refusal):
            return change
        self.changes += [change] if change is not None else []
        return None


def _no_shift(bias: OnnxNode) -> Refusal:
    """The weight, which is looked at first, bears the map; so it is the shift that the bias does not bear."""
    return Refusal(
        Reason.QUANTIZED, f"the bias is stored as integers behind {bias.label!r}: it takes the scale, and no shift"
    )


def _weight(
    node: OnnxNode, meaning: Contraction | Recurrent, constants: OnnxConstants, layout: Layout, *, slot: int = 1
) -> NewParameter | Refusal:
    return new_weight(meaning, constants.require(node.inputs[slot]).dtype, layout)


def _bias(
    node: OnnxNode, bias: Array | None, constants: OnnxConstants, *, like: int = 1
) -> NewParameter | Refusal | None:
    """An existing bias keeps its type, a new one takes that of the weight, which is input `like`."""
    if bias is None:
        return None
    return _parameter(node, 2 if _has_input(node, 2) else like, bias, constants)


def _gemm_bias(node: OnnxNode, meaning: Contraction, constants: OnnxConstants) -> Array | None:
    """C keeps rank 2 where it had it; otherwise it is a vector over the columns."""
    if meaning.bias is None:
        return None
    had_rank_2 = _has_input(node, 2) and constants.require(node.inputs[2]).ndim == 2
    return meaning.bias if had_rank_2 else meaning.bias.reshape(-1)


def _parameter(node: OnnxNode, slot: int, exact: Array, constants: OnnxConstants) -> NewParameter | Refusal:
    return new_parameter(exact, constants.require(node.inputs[slot]).dtype)


def _has_input(node: OnnxNode, slot: int) -> bool:
    return slot < len(node.inputs) and node.inputs[slot] is not None
