"""One door from nodes to meanings. Whatever is not fully understood comes out as Opaque."""

from collections.abc import Callable
from dataclasses import dataclass

import onnx

from bnfold.frontends.common.undecodable import Undecodable
from bnfold.frontends.onnx.attributes import ReferenceAttributeError
from bnfold.frontends.onnx.constants import INLINE_FUNCTIONS, OnnxConstants
from bnfold.frontends.onnx.decoders import (
    affine_maps,
    casts,
    commuting,
    contractions,
    joins,
    movement,
    norms,
    recurrent,
)
from bnfold.frontends.onnx.decoders.context import OnnxContext
from bnfold.frontends.onnx.graph import OnnxNode
from bnfold.refusal import Reason
from bnfold.semantics import Meaning, Opaque


@dataclass(frozen=True)
class _Decoder:
    """A decoder and the versions of the operator that it was written and tested for."""

    decode: Callable[[OnnxContext], Meaning]
    versions: frozenset[int]


def _decoder(decode: Callable[[OnnxContext], Meaning], *versions: int) -> _Decoder:
    return _Decoder(decode, frozenset(versions))


DECODERS: dict[str, _Decoder] = {
    "Abs": _decoder(commuting.decode_ramp, 6, 13),
    "Add": _decoder(joins.decode_add, 7, 13, 14),
    "AveragePool": _decoder(commuting.decode_average_pool, 7, 10, 11, 19, 22),
    "BatchNormalization": _decoder(affine_maps.decode_batch_norm, 7, 9, 14, 15),
    "Cast": _decoder(casts.decode_cast, 6, 9, 13, 19, 21, 23, 24, 25, 28),
    "Concat": _decoder(movement.decode_concat, 4, 11, 13),
    "Conv": _decoder(contractions.decode_conv, 1, 11, 22),
    "ConvTranspose": _decoder(contractions.decode_conv_transpose, 1, 11, 22),
    "CumSum": _decoder(commuting.decode_cum_sum, 11, 14),
    "DepthToSpace": _decoder(movement.decode_depth_to_space, 1, 11, 13, 28),
    "Div": _decoder(affine_maps.decode_div, 7, 13, 14),
    "Dropout": _decoder(movement.decode_dropout, 7, 10, 12, 13, 22),
    "Einsum": _decoder(contractions.decode_einsum, 12, 28),
    "Expand": _decoder(movement.decode_expand, 8, 13),
    "Flatten": _decoder(movement.decode_regrouping, 1, 9, 11, 13, 21, 23, 24, 25),
    "GRU": _decoder(recurrent.decode_recurrent, 7, 14, 22),
    "Gather": _decoder(movement.decode_gather, 1, 11, 13),
    "Gemm": _decoder(contractions.decode_gemm, 7, 9, 11, 13),
    "GlobalAveragePool": _decoder(commuting.decode_global_average_pool, 1, 22),
    "GlobalMaxPool": _decoder(commuting.decode_max_pool, 1, 22),
    "GroupNormalization": _decoder(norms.decode_channel_norm, 21),
    "Identity": _decoder(movement.decode_identity, 1, 13, 14, 16, 19, 21, 23, 24, 25),
    "InstanceNormalization": _decoder(norms.decode_channel_norm, 6, 22),
    "LSTM": _decoder(recurrent.decode_recurrent, 7, 14, 22),
    "LayerNormalization": _decoder(norms.decode_layer_norm, 17),
    "LeakyRelu": _decoder(commuting.decode_ramp, 6, 16),
    "MatMul": _decoder(contractions.decode_mat_mul, 1, 9, 13),
    "MaxPool": _decoder(commuting.decode_max_pool, 1, 8, 10, 11, 12, 22),
    "Mul": _decoder(joins.decode_mul, 7, 13, 14),
    "Neg": _decoder(commuting.decode_neg, 6, 13),
    "PRelu": _decoder(commuting.decode_ramp, 7, 9, 16),
    "Pad": _decoder(commuting.decode_pad, 2, 11, 13, 18, 19, 21, 23, 24, 25),
    "RNN": _decoder(recurrent.decode_recurrent, 7, 14, 22),
    "ReduceMax": _decoder(commuting.decode_reduce_extreme, 1, 11, 12, 13, 18, 20),
    "ReduceMean": _decoder(commuting.decode_reduce_mean, 1, 11, 13, 18),
    "ReduceMin": _decoder(commuting.decode_reduce_extreme, 1, 11, 12, 13, 18, 20),
    "ReduceSum": _decoder(commuting.decode_reduce_sum, 1, 11, 13),
    "Relu": _decoder(commuting.decode_ramp, 6, 13, 14),
    "Reshape": _decoder(movement.decode_reshape, 5, 13, 14, 19, 21, 23, 24, 25),
    "Resize": _decoder(commuting.decode_resize, 10, 11, 13, 18, 19),
    "Slice": _decoder(movement.decode_slice, 1, 10, 11, 13),
    "SpaceToDepth": _decoder(movement.decode_space_to_depth, 1, 13, 28),
    "Split": _decoder(movement.decode_split, 2, 11, 13, 18),
    "Squeeze": _decoder(movement.decode_regrouping, 1, 11, 13, 21, 23, 24, 25),
    "Sub": _decoder(joins.decode_sub, 7, 13, 14),
    "Sum": _decoder(joins.decode_sum, 6, 8, 13),
    "Transpose": _decoder(movement.decode_transpose, 1, 13, 21, 23, 24, 25),
    "Unsqueeze": _decoder(movement.decode_regrouping, 1, 11, 13, 21, 23, 24, 25),
    "Upsample": _decoder(commuting.decode_resize, 7, 9),
}


# Known to let neither a scale nor a shift through; everything else without a decoder may just be unknown to bnfold.
_NOT_LINEAR = frozenset(
    """
    Acos Acosh And ArgMax ArgMin Asin Asinh Atan Atanh Ceil Celu Clip Cos Cosh Elu Equal Erf Exp Floor Gelu Greater
    GreaterOrEqual HardSigmoid HardSwish Hardmax IsInf IsNaN LRN Less LessOrEqual Log LogSoftmax LpNormalization Max
    MeanVarianceNormalization Min Mish NonZero Not Or Pow RMSNormalization Reciprocal Round Selu Shrink Sigmoid Sign Sin
    Sinh Softmax Softplus Softsign Sqrt Swish Tan Tanh ThresholdedRelu Xor
    """.split()  # noqa: SIM905 - a list of strings would take thirty lines
)

_ROUNDS = "rounds to integers: a map in front of it would change what is rounded, one behind it has no weights to go to"
_QUANTIZATION = {
    "DequantizeLinear": "reads what was rounded to integers, and in front of the rounding a map would change it",
    "DynamicQuantizeLinear": _ROUNDS,
    "QuantizeLinear": _ROUNDS,
}


def decode(node: OnnxNode, constants: OnnxConstants) -> Meaning:
    """What a node means.

    Returns:
        The meaning; Opaque with the reason where the operator is foreign, unknown, of an unknown version, or does not
        have the constants, ranks and attributes that folding needs.
    """
    if not node.is_standard:
        kind = "a function of this model" if node.calls_function else f"domain {node.proto.domain!r}"
        hint = INLINE_FUNCTIONS if node.calls_function else ""
        return Opaque(Reason.FOREIGN_DOMAIN, f"{node.proto.op_type} of {kind} is not ONNX's own operator", hint)
    decoder = DECODERS.get(node.proto.op_type)
    if decoder is None:
        return _without_decoder(node)
    if not node.outputs or node.outputs[0] is None:
        return Opaque(Reason.MALFORMED, f"{node.op} has no first output")
    version = _version(node)
    if version is None:
        return Opaque(Reason.MALFORMED, f"{node.op} is no operator of opset {node.opset}")
    if version not in decoder.versions:
        return Opaque(Reason.UNKNOWN_VERSION, f"{node.op} has version {version} at opset {node.opset}")
    try:
        return decoder.decode(OnnxContext(node, constants))
    except Undecodable as stop:
        return stop.opaque
    except ReferenceAttributeError as error:
        return Opaque(Reason.DYNAMIC_PARAMETER, str(error))
    except (TypeError, ValueError, IndexError) as error:
        return Opaque(Reason.MALFORMED, f"{node.op} cannot be read: {error}")


def _without_decoder(node: OnnxNode) -> Opaque:
    operator = node.proto.op_type
    if operator in _QUANTIZATION:
        return Opaque(Reason.NOT_LINEAR, f"{node.op} {_QUANTIZATION[operator]}")
    if operator in _NOT_LINEAR:
        return Opaque(Reason.NOT_LINEAR, f"{node.op} is not linear")
    return Opaque(Reason.UNKNOWN_OPERATOR, f"{node.op} has no rule")


def _version(node: OnnxNode) -> int | None:
    try:
        return int(onnx.defs.get_schema(node.proto.op_type, node.opset, "").since_version)
    except onnx.defs.SchemaError:
        return None
