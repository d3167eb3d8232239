"""Linear models of the domain ai.onnx.ml, which hold their numbers in attributes; tables are scaled before them."""

import numpy as np
import onnx

from bnfold.frontends.common.parameters import bias_along_output, bias_per_channel, new_parameter, new_weight
from bnfold.frontends.common.products import as_matrix, times_matrix
from bnfold.frontends.common.undecodable import Undecodable, malformed
from bnfold.frontends.onnx.attributes import attribute
from bnfold.frontends.onnx.edit import OnnxEdit
from bnfold.frontends.onnx.graph import OnnxNode, Shape, Traits
from bnfold.frontends.onnx.operators.context import OnnxContext
from bnfold.frontends.onnx.operators.parameters import edit_of
from bnfold.frontends.onnx.operators.row import Family
from bnfold.frontends.onnx.told_shapes import like_first_input
from bnfold.refusal import Reason, Refusal
from bnfold.semantics import Contraction, FusedContraction, Opaque

FAMILY = Family()

_DOMAIN = "ai.onnx.ml"
_FLOAT32 = np.dtype(np.float32)


def encode_linear_regressor(context: OnnxContext, meaning: Contraction) -> OnnxEdit | Refusal:
    """Coefficients and intercepts; where it has no intercepts, an Add behind it takes them."""
    numbers = {"coefficients": new_weight(meaning, _FLOAT32, as_matrix(outputs_first=True))}
    if meaning.bias is None:
        return edit_of(context, {}, float_attributes=numbers)
    if not meaning.holds_bias:
        behind = new_parameter(bias_along_output(meaning), _FLOAT32)
        return edit_of(context, {}, float_attributes=numbers, bias_behind=behind)
    intercepts = new_parameter(bias_per_channel(meaning), _FLOAT32)
    return edit_of(context, {}, float_attributes=numbers | {"intercepts": intercepts})


def _sums(node: OnnxNode) -> Shape | None:
    """The output of a regression: a number for each target."""
    shape = like_first_input(node)
    return None if not shape else (*shape[:-1], attribute(node, "targets", 1))


@FAMILY.operator(
    "LinearRegressor",
    (1,),
    domain=_DOMAIN,
    encode=encode_linear_regressor,
    traits=Traits(tell_output_shape=_sums),
)
def decode_linear_regressor(context: OnnxContext) -> Contraction:
    """LinearRegressor: x W' + b, with W as (targets, features). Source: ai.onnx.ml LinearRegressor-1."""
    if context.attribute("post_transform", b"NONE") != b"NONE":
        raise Undecodable(Reason.NOT_LINEAR, "what LinearRegressor does with its sums is not linear")
    return _read(context, int(context.attribute("targets", 1)))


def encode_linear_classifier(context: OnnxContext, meaning: FusedContraction) -> OnnxEdit | Refusal:
    """Coefficients and intercepts."""
    return encode_linear_regressor(context, meaning.contraction)


@FAMILY.operator("LinearClassifier", (1,), domain=_DOMAIN, encode=encode_linear_classifier)
def decode_linear_classifier(context: OnnxContext) -> FusedContraction:
    """LinearClassifier: x W' + b, of which it makes classes and their scores. Source: ai.onnx.ml LinearClassifier-1."""
    classes = len(context.attribute("intercepts", ()))
    if not classes:
        raise Undecodable(Reason.MALFORMED, "LinearClassifier has no intercepts, which say how many classes there are")
    chosen = Opaque(Reason.NOT_LINEAR, "LinearClassifier chooses among the classes")
    return FusedContraction(_read(context, classes), chosen)


def _read(context: OnnxContext, rows: int) -> Contraction:
    if context.required(0).element_type != onnx.TensorProto.FLOAT:
        raise Undecodable(Reason.NOT_LINEAR, f"{context.node.op} computes in float32, and what it reads is not float32")
    coefficients, intercepts = (context.numbers(name) for name in ("coefficients", "intercepts"))
    shape = context.shape(0)
    if len(shape) != 2 or rows < 1 or coefficients.size == 0 or coefficients.size % rows:
        raise malformed(f"{context.node.op} has {coefficients.size} coefficients for {rows} rows, and reads {shape}")
    matrix = coefficients.reshape(rows, -1)
    if isinstance(shape[1], int) and shape[1] != matrix.shape[1]:
        raise malformed(f"{context.node.op} has coefficients for {matrix.shape[1]} features, and reads {shape[1]}")
    if intercepts.size not in (0, rows):
        raise malformed(f"{context.node.op} has {intercepts.size} intercepts for {rows} rows")
    bias = intercepts.reshape(1, -1) if intercepts.size else None
    return times_matrix(matrix, 2, bias, holds_bias=bias is not None)
