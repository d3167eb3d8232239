"""New parameters for the inputs of a node, rounded once and checked."""

from collections.abc import Mapping

import numpy as np

from bnfold.affine import Array
from bnfold.frontends.common.parameters import Layout, NewParameter, new_parameter, new_weight
from bnfold.frontends.onnx.attributes import attribute
from bnfold.frontends.onnx.edit import OnnxEdit
from bnfold.frontends.onnx.operators.context import OnnxContext
from bnfold.frontends.onnx.requantize import Dequantizer, Requantized, dequantizer, requantized
from bnfold.refusal import Reason, Refusal
from bnfold.semantics import Contraction, Recurrent

# Of Conv, ConvTranspose and Gemm.
_BIAS = 2
# What float64 may lose on the way.
_LOST = 1e-12


def edit_of(
    context: OnnxContext,
    parameters: Mapping[int, NewParameter | Refusal | None],
    *,
    op_type: str = "",
    float_attributes: Mapping[str, float | NewParameter | Refusal] | None = None,
    bias_behind: NewParameter | Refusal | None = None,
) -> OnnxEdit | Refusal:
    """The edit that gives constant inputs of a node new values, or the first refusal among them.

    Args:
        context: the node.
        parameters: by input index; None where nothing changes.
        op_type: as in `OnnxEdit`.
        float_attributes: as in `OnnxEdit`.
        bias_behind: as in `OnnxEdit`.
    """
    if isinstance(bias_behind, Refusal):
        return bias_behind
    numbers: dict[str, float | NewParameter] = {}
    for name, number in (float_attributes or {}).items():
        if isinstance(number, Refusal):
            return number
        numbers[name] = number
    new: dict[int, NewParameter] = {}
    node, integers = context.node, _Integers(context)
    for slot, parameter in parameters.items():
        if isinstance(parameter, Refusal):
            return parameter
        quantized = dequantizer(node.inputs[slot]) if node.has_input(slot) else None
        if parameter is not None and quantized is None:
            new[slot] = parameter
        elif parameter is not None and quantized is not None:
            refusal = integers.change(quantized, slot, parameter)
            if refusal is not None:
                return refusal
    return OnnxEdit(node, new, op_type, numbers, bias_behind or integers.behind, integers.changes)


class _Integers:
    """The parameters of a node that are stored as integers, one after the other: the weight before the bias.

    Attributes:
        changes: of the nodes that dequantise them.
        behind: what an integer bias could not take, to be added behind the node.
    """

    def __init__(self, context: OnnxContext) -> None:
        self._node, self._constants = context.node, context.constants
        self.changes: list[Requantized] = []
        self.behind: NewParameter | None = None

    def change(self, quantized: Dequantizer, slot: int, parameter: NewParameter) -> Refusal | None:
        """Let one take new values; the refusal where it cannot."""
        if parameter.dead_channels:
            return Refusal(Reason.UNDERFLOW, f"{parameter.dead_channels} scales of {quantized.label!r} would be 0")
        if slot == _BIAS and dequantizer(self._node.inputs[1]) is not None:
            return self._change_bias(quantized, parameter.exact)
        return self._requantize(quantized, slot, parameter.exact)

    def _change_bias(self, quantized: Dequantizer, new: Array) -> Refusal | None:
        """A bias beside an integer weight takes the weight's factors: runtimes multiply the scales of input and weight
        to get that of the bias. What is left of the shift is added behind the node.
        """
        weight = self._node.inputs[1]
        if weight is None or not self._constants.is_fixed(weight):
            return _no_shift(quantized)
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

    def _requantize(self, quantized: Dequantizer, slot: int, new: Array) -> Refusal | None:
        change = requantized(quantized, slot, new, self._constants)
        if isinstance(change, Refusal):
            return change
        self.changes += [change] if change is not None else []
        return None


def _no_shift(bias: Dequantizer) -> Refusal:
    """The weight, which is looked at first, bears the map; so it is the shift that the bias does not bear."""
    return Refusal(
        Reason.QUANTIZED, f"the bias is stored as integers behind {bias.label!r}: it takes the scale, and no shift"
    )


def weight_for(
    context: OnnxContext, meaning: Contraction | Recurrent, layout: Layout, *, slot: int = 1
) -> NewParameter | Refusal:
    """The weight of a meaning in the layout of the node, rounded to the type of the input that holds it.

    Returns:
        The parameter; OVERFLOW or UNDERFLOW where the type cannot hold it.
    """
    return new_weight(meaning, context.constants.dtype_of(context.required(slot)), layout)


def bias_for(
    context: OnnxContext, bias: Array | None, *, slot: int = _BIAS, like: int = 1
) -> NewParameter | Refusal | None:
    """A bias, rounded to the type of the bias that it replaces; where there is none, to that of the input `like`."""
    if bias is None:
        return None
    return parameter_for(context, slot if context.node.has_input(slot) else like, bias)


def parameter_for(context: OnnxContext, slot: int, exact: Array) -> NewParameter | Refusal:
    """A parameter, rounded to the type of the input at this slot; OVERFLOW where that cannot hold it."""
    return new_parameter(exact, context.constants.dtype_of(context.required(slot)))
