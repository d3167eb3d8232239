"""Convolutions, mul and add in the place of a batch normalisation."""

from collections.abc import Sequence

import numpy as np

from bnfold.errors import InternalError
from bnfold.frontends.aten.constants import numpy_dtype
from bnfold.frontends.aten.edit import AtenEdit, Successor
from bnfold.frontends.aten.node import AtenNode
from bnfold.frontends.common.lowered import operand_of, weight_and_bias
from bnfold.refusal import Reason, Refusal
from bnfold.semantics import AffineMap, Contraction, Form, Meaning


def encode_lowered(node: AtenNode, parts: Sequence[Meaning]) -> AtenEdit | Refusal:
    """The edit that puts these operators in the place of a batch normalisation.

    Returns:
        The edit; UNKNOWN_SHAPE where the type of the tensor is not known, OVERFLOW or UNDERFLOW where it cannot hold a
        constant.
    """
    made = node.outputs[0]
    if made is None or made.dtype is None:
        return Refusal(Reason.UNKNOWN_SHAPE, "the type of what it makes is not known before run time")
    successors: list[Successor] = []
    for part in parts:
        successor = _successor(part, numpy_dtype(made.dtype))
        if isinstance(successor, Refusal):
            return successor
        successors.append(successor)
    return AtenEdit(node, {}, successors=successors)


def _successor(part: Meaning, dtype: np.dtype[np.generic]) -> Successor | Refusal:
    match part:
        case Contraction():
            return _convolution(part, dtype)
        case AffineMap():
            operand = operand_of(part, dtype)
            if isinstance(operand, Refusal):
                return operand
            if part.form is Form.SCALE:
                return Successor("aten::mul", "self", {"other": operand}, {})
            return Successor("aten::add", "self", {"other": operand}, {"alpha": 1})
    raise InternalError(f"a batch normalisation cannot become a {type(part).__name__}")


def _convolution(meaning: Contraction, dtype: np.dtype[np.generic]) -> Successor | Refusal:
    parameters = weight_and_bias(meaning, dtype)
    if isinstance(parameters, Refusal):
        return parameters
    weight, bias = parameters
    axes = meaning.weight.ndim - 3
    ones, zeros = [1] * axes, [0] * axes
    window: dict[str, int | Sequence[int]] = {
        "stride": ones,
        "padding": zeros,
        "dilation": ones,
        "groups": meaning.output_channels,
    }
    return Successor(f"aten::conv{axes}d", "input", {"weight": weight, "bias": bias}, window)
