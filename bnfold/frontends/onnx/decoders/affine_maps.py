"""BatchNormalization, and Mul, Add, Sub, Div by a constant, read as affine maps."""

import numpy as np

from bnfold.affine import Affine, Array
from bnfold.frontends.onnx.attributes import DEFAULT_EPSILON, attribute
from bnfold.frontends.onnx.constant_ops import is_float
from bnfold.frontends.onnx.decoders.context import Context, Undecodable, malformed
from bnfold.frontends.onnx.graph import Shape
from bnfold.refusal import Reason, Refusal
from bnfold.rules.affine_map import read_batch_norm_as_affine
from bnfold.semantics import AffineMap, Form

_CHANNEL_AXIS = 1


def decode_batch_norm(context: Context) -> AffineMap:
    """BatchNormalization in inference: five inputs, one output. Source: ONNX BatchNormalization-7, -9, -14, -15."""
    node = context.node
    if attribute(node, "training_mode", 0):
        raise Undecodable(
            Reason.TRAINING_MODE, "training_mode is 1", hint="export in eval mode, or give --assume-inference"
        )
    if any(node.proto.output[1:]):
        names = ", ".join(map(repr, filter(None, node.proto.output[1:])))
        raise Undecodable(Reason.STATISTICS_OUTPUTS, f"it also outputs {names}", hint="export in eval mode")
    if node.opset < 9 and not attribute(node, "spatial", 1):
        raise Undecodable(Reason.NOT_SPATIAL, f"spatial is 0 at opset {node.opset}")
    gamma, beta, mean, variance = (context.parameter(slot, dynamic=Reason.DYNAMIC_PARAMETER) for slot in range(1, 5))
    shapes = {gamma.shape, beta.shape, mean.shape, variance.shape}
    if len(shapes) != 1 or gamma.ndim != 1:
        raise malformed(f"the four parameters have shapes {gamma.shape}, {beta.shape}, {mean.shape}, {variance.shape}")
    shape = context.shape(0)
    if len(shape) < 2:
        raise malformed(f"the input has rank {len(shape)}, expected 2 at least")
    if isinstance(shape[_CHANNEL_AXIS], int) and shape[_CHANNEL_AXIS] != gamma.size:
        raise malformed(f"the input has {shape[_CHANNEL_AXIS]} channels, the parameters {gamma.size}")
    epsilon = attribute(node, "epsilon", DEFAULT_EPSILON)
    affine = read_batch_norm_as_affine(gamma, beta, mean, variance, epsilon, rank=len(shape))
    if isinstance(affine, Refusal):
        raise Undecodable(affine.reason, affine.evidence)
    return AffineMap(affine, Form.SCALE_AND_SHIFT, channel_axis=_CHANNEL_AXIS)


def decode_mul(context: Context) -> AffineMap:
    """Mul by a constant, on either side. Source: ONNX Mul-7, -13, -14."""
    source, constant = _operands(context)
    return AffineMap(Affine(constant, np.zeros_like(constant)), Form.SCALE, source)


def decode_div(context: Context) -> AffineMap:
    """Div by a constant; a constant divided by x is not affine. Source: ONNX Div-7, -13, -14."""
    source, constant = _operands(context)
    if source == 1:
        raise Undecodable(Reason.NOT_LINEAR, "a constant divided by the activation is not affine")
    with np.errstate(divide="ignore", over="ignore"):
        scale = 1.0 / constant
    if not np.isfinite(scale).all():
        raise Undecodable(Reason.NOT_FINITE, "the divisor holds a zero")
    return AffineMap(Affine(scale, np.zeros_like(scale)), Form.SCALE, source)


def decode_add(context: Context) -> AffineMap:
    """Add of a constant, on either side. Source: ONNX Add-7, -13, -14."""
    source, constant = _operands(context)
    return AffineMap(Affine(np.ones((1,) * constant.ndim), constant), Form.SHIFT, source)


def decode_sub(context: Context) -> AffineMap:
    """Sub of a constant, or from a constant, which has scale -1. Source: ONNX Sub-7, -13, -14."""
    source, constant = _operands(context)
    sign = 1.0 if source == 0 else -1.0
    return AffineMap(Affine(np.full((1,) * constant.ndim, sign), -sign * constant), Form.SHIFT, source)


def _operands(context: Context) -> tuple[int, Array]:
    """Which input is the activation, and the other one's values with the activation's rank."""
    first = context.constants.read(context.required(0))
    second = context.constants.read(context.required(1))
    for refusal in (first, second):
        if isinstance(refusal, Refusal) and refusal.reason is not Reason.DYNAMIC_PARAMETER:
            raise Undecodable(refusal.reason, refusal.evidence)
    if isinstance(first, Refusal) == isinstance(second, Refusal):
        raise Undecodable(Reason.NOT_LINEAR, f"{context.node.op} needs one constant and one activation")
    constant_slot = 0 if isinstance(second, Refusal) else 1
    stored = first if isinstance(second, Refusal) else second
    if isinstance(stored, Refusal) or not is_float(stored.dtype):
        raise Undecodable(Reason.NOT_LINEAR, "the constant is not floating point")
    source = 1 - constant_slot
    constant = context.parameter(constant_slot, dynamic=Reason.DYNAMIC_PARAMETER)
    if not np.isfinite(constant).all():
        raise Undecodable(Reason.NOT_FINITE, "the constant holds NaN or infinity")
    return source, _with_rank_of(constant, context.shape(source))


def _with_rank_of(constant: Array, activation: Shape) -> Array:
    if constant.ndim > len(activation):
        raise Undecodable(
            Reason.BROADCASTS_ACTIVATION, f"a constant of rank {constant.ndim} meets a tensor of rank {len(activation)}"
        )
    aligned = constant.reshape((1,) * (len(activation) - constant.ndim) + constant.shape)
    for axis, known in enumerate(activation):
        length = int(aligned.shape[axis])
        if length == 1 or length == known:
            continue
        if not isinstance(known, int):
            raise Undecodable(
                Reason.UNKNOWN_SHAPE, f"axis {axis} of the activation may be 1, then the constant would widen it"
            )
        raise Undecodable(
            Reason.BROADCASTS_ACTIVATION, f"the constant has {length} entries on axis {axis}, the activation {known}"
        )
    return aligned
