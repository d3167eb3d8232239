"""Operators that let no map pass, and those that only make constants or lengths of which other operators are made."""

from bnfold.frontends.onnx import constant_ops
from bnfold.frontends.onnx.graph import Traits
from bnfold.frontends.onnx.operators.row import Family
from bnfold.frontends.onnx.told_shapes import like_first_input, like_first_output

FAMILY = Family()

_KEEPS_SHAPE = Traits(tell_output_shape=like_first_input, tell_input_shape=like_first_output)

FAMILY.without_decoder("Elu", "HardSwish", "Sigmoid", "Tanh", why_not_linear="is not linear", traits=_KEEPS_SHAPE)
FAMILY.without_decoder(
    *"""
    Acos Acosh And ArgMax ArgMin Asin Asinh Atan Atanh Ceil Celu Cos Cosh Equal Erf Exp Floor Gelu Greater
    GreaterOrEqual HardSigmoid Hardmax IsInf IsNaN LRN Less LessOrEqual Log LpNormalization
    MeanVarianceNormalization Mish NonZero Not Or RMSNormalization Reciprocal Round Selu Shrink Sign Sin
    Sinh Softplus Softsign Sqrt Swish Tan ThresholdedRelu Xor
    """.split(),  # noqa: SIM905 - a list of strings would take thirty lines
    why_not_linear="is not linear",
)

FAMILY.without_decoder("Constant", traits=Traits(holds_values=True))
FAMILY.without_decoder("ConstantOfShape", traits=Traits(holds_values=True, shaped_by_values=True))
FAMILY.without_decoder("Shape", traits=Traits(evaluate=constant_ops.shape, value_inputs=0))
FAMILY.without_decoder("Size", traits=Traits(evaluate=constant_ops.size, value_inputs=0))
FAMILY.without_decoder("If", "ReduceSumSquare")
FAMILY.without_decoder(
    "Bernoulli",
    "Multinomial",
    "RandomNormal",
    "RandomNormalLike",
    "RandomUniform",
    "RandomUniformLike",
    traits=Traits(can_be_computed=False),
)
