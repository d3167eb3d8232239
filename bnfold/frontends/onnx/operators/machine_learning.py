"""Operators of the domain ai.onnx.ml, in which tables of features are prepared."""

import numpy as np
import onnx

from bnfold.affine import Affine
from bnfold.errors import InternalError
from bnfold.frontends.common.arithmetic import require_finite
from bnfold.frontends.common.parameters import new_parameter
from bnfold.frontends.common.undecodable import Undecodable, malformed
from bnfold.frontends.onnx.edit import OnnxEdit
from bnfold.frontends.onnx.graph import Traits
from bnfold.frontends.onnx.operators.context import OnnxContext
from bnfold.frontends.onnx.operators.parameters import edit_of
from bnfold.frontends.onnx.operators.row import Family
from bnfold.frontends.onnx.told_shapes import like_first_input, like_first_output
from bnfold.refusal import Reason, Refusal
from bnfold.semantics import AffineMap, Form

FAMILY = Family()

_DOMAIN = "ai.onnx.ml"
_FLOAT32 = np.dtype(np.float32)


def encode_scaler(context: OnnxContext, meaning: AffineMap) -> OnnxEdit | Refusal:
    """Law: scale = s, offset = -t / s, of a map with scale s and shift t."""
    vectors = None if meaning.channel_axis is None else meaning.affine.along(meaning.channel_axis)
    if vectors is None:
        raise InternalError(f"a map over several axes was to go into {context.node.label!r}")
    scale, shift = np.broadcast_arrays(vectors.scale, vectors.shift)
    if np.any((scale == 0) & (shift != 0)):
        return Refusal(Reason.NOT_FINITE, f"a scale of {context.node.label!r} would be 0, and its offset divided by it")
    offset = np.divide(-shift, scale, out=np.zeros_like(shift), where=scale != 0)
    new = {"scale": new_parameter(scale, _FLOAT32), "offset": new_parameter(offset, _FLOAT32)}
    return edit_of(context, {}, float_attributes=new)


@FAMILY.operator(
    "Scaler",
    (1,),
    domain=_DOMAIN,
    encode=encode_scaler,
    traits=Traits(
        per_number=True,
        multiplies=True,
        tell_output_shape=like_first_input,
        tell_input_shape=like_first_output,
    ),
)
def decode_scaler(context: OnnxContext) -> AffineMap:
    """Scaler: (x - offset) * scale, one of each for all features or for each. Source: ai.onnx.ml Scaler-1."""
    if context.required(0).element_type != onnx.TensorProto.FLOAT:
        raise Undecodable(Reason.NOT_LINEAR, "a Scaler makes float32 of whatever it reads, and that is not float32")
    shape = context.shape(0)
    scale, offset = (context.numbers(name) for name in ("scale", "offset"))
    if len(shape) not in (1, 2):
        raise malformed(f"Scaler has an input of rank {len(shape)}, expected 1 or 2")
    axis = len(shape) - 1
    if (
        scale.size != offset.size
        or scale.size == 0
        or (isinstance(shape[axis], int) and scale.size not in (1, shape[axis]))
    ):
        raise malformed(f"Scaler has {scale.size} scales and {offset.size} offsets for {shape[axis]} features")
    require_finite(scale)
    require_finite(offset)
    aligned = scale.reshape((1,) * axis + (-1,))
    return AffineMap(Affine(aligned, -aligned * offset), Form.SCALE_AND_SHIFT, channel_axis=axis)
