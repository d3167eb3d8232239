"""One door from nodes to meanings. Whatever is not fully understood comes out as Opaque."""

from collections.abc import Callable
from dataclasses import dataclass

import onnx

from bnfold.frontends.onnx.attributes import ReferenceAttributeError
from bnfold.frontends.onnx.constants import Constants
from bnfold.frontends.onnx.decoders import affine_maps, contractions
from bnfold.frontends.onnx.decoders.context import Context, Undecodable
from bnfold.frontends.onnx.graph import Node
from bnfold.refusal import Reason
from bnfold.semantics import Meaning, Opaque


@dataclass(frozen=True)
class _Decoder:
    """A decoder and the versions of the operator that it was written and tested for."""

    decode: Callable[[Context], Meaning]
    versions: frozenset[int]


def _decoder(decode: Callable[[Context], Meaning], *versions: int) -> _Decoder:
    return _Decoder(decode, frozenset(versions))


DECODERS: dict[str, _Decoder] = {
    "Add": _decoder(affine_maps.decode_add, 7, 13, 14),
    "BatchNormalization": _decoder(affine_maps.decode_batch_norm, 7, 9, 14, 15),
    "Conv": _decoder(contractions.decode_conv, 1, 11, 22),
    "ConvTranspose": _decoder(contractions.decode_conv_transpose, 1, 11, 22),
    "Div": _decoder(affine_maps.decode_div, 7, 13, 14),
    "Gemm": _decoder(contractions.decode_gemm, 7, 9, 11, 13),
    "MatMul": _decoder(contractions.decode_mat_mul, 1, 9, 13),
    "Mul": _decoder(affine_maps.decode_mul, 7, 13, 14),
    "Sub": _decoder(affine_maps.decode_sub, 7, 13, 14),
}


def decode(node: Node, constants: Constants) -> Meaning:
    """What a node means.

    Returns:
        The meaning; Opaque with the reason where the operator is foreign, unknown, of an unknown version, or does not
        have the constants, ranks and attributes that folding needs.
    """
    if not node.is_standard:
        kind = "a function of this model" if node.calls_function else f"domain {node.proto.domain!r}"
        return Opaque(Reason.FOREIGN_DOMAIN, f"{node.proto.op_type} of {kind} is not ONNX's own operator")
    decoder = DECODERS.get(node.proto.op_type)
    if decoder is None:
        return Opaque(Reason.UNKNOWN_OPERATOR, f"{node.op} has no rule")
    if not node.outputs or node.outputs[0] is None:
        return Opaque(Reason.MALFORMED, f"{node.op} has no first output")
    version = _version(node)
    if version not in decoder.versions:
        return Opaque(Reason.UNKNOWN_VERSION, f"{node.op} has version {version} at opset {node.opset}")
    try:
        return decoder.decode(Context(node, constants))
    except Undecodable as stop:
        return stop.opaque
    except ReferenceAttributeError as error:
        return Opaque(Reason.DYNAMIC_PARAMETER, str(error))
    except (TypeError, ValueError, IndexError) as error:
        return Opaque(Reason.MALFORMED, f"{node.op} cannot be read: {error}")


def _version(node: Node) -> int | None:
    try:
        return int(onnx.defs.get_schema(node.proto.op_type, node.opset, "").since_version)
    except onnx.defs.SchemaError:
        return None
