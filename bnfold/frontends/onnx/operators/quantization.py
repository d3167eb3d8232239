"""Quantizers: no map passes them, but a constant behind a DequantizeLinear is a parameter (requantize.py).

Those of com.microsoft are older than the ones of ONNX with the same types.
Source: https://github.com/microsoft/onnxruntime/blob/main/docs/ContribOperators.md
"""

from bnfold.frontends.onnx import constant_ops
from bnfold.frontends.onnx.graph import Traits
from bnfold.frontends.onnx.operators.row import Family
from bnfold.frontends.onnx.told_shapes import like_first_input, like_first_output

FAMILY = Family()

_ROUNDS = "rounds to integers: a map in front of it would change what is rounded, one behind it has no weights to go to"
_READS_INTEGERS = "reads what was rounded to integers, and in front of the rounding a map would change it"

FAMILY.without_decoder("DynamicQuantizeLinear", "QuantizeLinear", why_not_linear=_ROUNDS)
FAMILY.without_decoder(
    "ConvInteger",
    "MatMulInteger",
    "QLinearConv",
    "QLinearMatMul",
    why_not_linear="computes with integers, of which no map is a scale and a shift",
)
FAMILY.without_decoder(
    "QuantizeLinear",
    domain="com.microsoft",
    why_not_linear=_ROUNDS,
    traits=Traits(tell_output_shape=like_first_input, tell_input_shape=like_first_output),
)
FAMILY.without_decoder(
    "DequantizeLinear",
    why_not_linear=_READS_INTEGERS,
    traits=Traits(evaluate=constant_ops.dequantize_linear, dequantizes=True),
)
FAMILY.without_decoder(
    "DequantizeLinear",
    domain="com.microsoft",
    why_not_linear=_READS_INTEGERS,
    traits=Traits(
        evaluate=constant_ops.dequantize_linear,
        dequantizes=True,
        tell_output_shape=like_first_input,
        tell_input_shape=like_first_output,
        type_of_input=1,
    ),
)
