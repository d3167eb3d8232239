"""BatchNormalization, and Mul, Add, Sub, Div by a constant, read as affine maps."""

from bnfold.affine import Array
from bnfold.frontends.arithmetic import divided, require_finite, scaled, shifted
from bnfold.frontends.batch_norms import read_batch_norm, require_channels, require_vectors
from bnfold.frontends.broadcasting import with_rank_of
from bnfold.frontends.onnx.attributes import DEFAULT_EPSILON, attribute
from bnfold.frontends.onnx.constant_ops import is_float
from bnfold.frontends.onnx.decoders.context import Context
from bnfold.frontends.undecodable import Undecodable
from bnfold.refusal import Reason, Refusal
from bnfold.semantics import AffineMap


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
    require_vectors(gamma, beta, mean, variance)
    shape = context.shape(0)
    require_channels(shape)
    epsilon = attribute(node, "epsilon", DEFAULT_EPSILON)
    return read_batch_norm(gamma, beta, mean, variance, epsilon, shape)


def decode_mul(context: Context) -> AffineMap:
    """Mul by a constant, on either side. Source: ONNX Mul-7, -13, -14."""
    source, constant = _operands(context)
    return scaled(constant, source)


def decode_div(context: Context) -> AffineMap:
    """Div by a constant; a constant divided by x is not affine. Source: ONNX Div-7, -13, -14."""
    source, constant = _operands(context)
    if source == 1:
        raise Undecodable(Reason.NOT_LINEAR, "a constant divided by the activation is not affine")
    return divided(constant, source)


def decode_add(context: Context) -> AffineMap:
    """Add of a constant, on either side. Source: ONNX Add-7, -13, -14."""
    source, constant = _operands(context)
    return shifted(constant, source)


def decode_sub(context: Context) -> AffineMap:
    """Sub of a constant, or from a constant, which has scale -1. Source: ONNX Sub-7, -13, -14."""
    source, constant = _operands(context)
    sign = 1.0 if source == 0 else -1.0
    return shifted(-sign * constant, source, scale=sign)


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
    require_finite(constant)
    return source, with_rank_of(constant, context.shape(source))
