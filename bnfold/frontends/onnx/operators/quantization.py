"""Quantizers: no map passes them, but a constant behind a DequantizeLinear is a parameter (requantize.py).

Those of com.microsoft are older than the ones of ONNX with the same types.
Source: https://github.com/microsoft/onnxruntime/blob/main/docs/ContribOperators.md
"""

from functools import partial

from bnfold.frontends.onnx import constant_ops
from bnfold.frontends.onnx.graph import Traits
from bnfold.frontends.onnx.operators.row import Family
from bnfold.frontends.onnx.told_shapes import broadcast, like_first_input, like_first_output, multiplied, pooled

FAMILY = Family()

_ROUNDS = "rounds to integers: a map in front of it would change what is rounded, one behind it has no weights to go to"
_READS_INTEGERS = "reads what was rounded to integers, and in front of the rounding a map would change it"

FAMILY.without_decoder("DynamicQuantizeLinear", "QuantizeLinear", why_not_linear=_ROUNDS)
_FOLD_FIRST = "where the float model is at hand, fold that, and quantise what comes out"
_COMPUTES_WITH_INTEGERS = "computes with integers, of which no map is a scale and a shift"
FAMILY.without_decoder(
    "ConvInteger", "MatMulInteger", "QLinearConv", "QLinearMatMul", why_not_linear=_COMPUTES_WITH_INTEGERS
)
# ONNX infers no shapes behind these: without them, what stands behind would stay for its unknown rank.
for operators, told in (
    (("QGemm",), partial(multiplied, matrix=3)),
    (("QLinearAdd", "QLinearMul"), partial(broadcast, other=3)),
    (("QLinearLeakyRelu", "QLinearSigmoid", "QLinearSoftmax"), like_first_input),
    (("QLinearAveragePool", "QLinearGlobalAveragePool"), pooled),
):
    FAMILY.without_decoder(
        *operators,
        domain="com.microsoft",
        why_not_linear=_COMPUTES_WITH_INTEGERS,
        traits=Traits(tell_output_shape=told),
    )
FAMILY.without_decoder(
    *"""
    DynamicQuantizeLSTM MatMulInteger16 MulInteger NhwcMaxPool QAttention QLinearConcat QLinearConv QLinearReduceMean
    QLinearWhere QMoE QOrderedMatMul ReduceSumInteger
    """.split(),  # noqa: SIM905 - a list of strings would take a line each
    domain="com.microsoft",
    why_not_linear=_COMPUTES_WITH_INTEGERS,
)
FAMILY.without_decoder(
    "GatherBlockQuantized",
    domain="com.microsoft",
    why_not_linear="looks up integers with one scale for each block of a row, and has no place for a shift",
)
FAMILY.without_decoder(
    "MatMulFpQ4",
    domain="com.microsoft",
    why_not_linear="has its weight in a form that is onnxruntime's own, its scales in between",
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
    hint=_FOLD_FIRST,
    traits=Traits(evaluate=constant_ops.dequantize_linear, dequantizes=True),
)
FAMILY.without_decoder(
    "DequantizeLinear",
    domain="com.microsoft",
    why_not_linear=_READS_INTEGERS,
    hint=_FOLD_FIRST,
    traits=Traits(
        evaluate=constant_ops.dequantize_linear,
        dequantizes=True,
        tell_output_shape=like_first_input,
        tell_input_shape=like_first_output,
        type_of_input=1,
    ),
)
