"""From a node to its meaning, by the row of its operator. What is not fully understood becomes Opaque."""

import onnx

from bnfold.frontends.common.undecodable import Undecodable
from bnfold.frontends.onnx.attributes import ReferenceAttributeError
from bnfold.frontends.onnx.constants import INLINE_FUNCTIONS, OnnxConstants
from bnfold.frontends.onnx.graph import OnnxNode, canonical_domain
from bnfold.frontends.onnx.operators.context import OnnxContext
from bnfold.frontends.onnx.operators.row import Operator
from bnfold.frontends.onnx.operators.table import operator_of
from bnfold.frontends.onnx.told_types import DOMAINS_OF_ONNX
from bnfold.refusal import Reason
from bnfold.semantics import Meaning, Opaque

# numpy's arrays have at most 64, and it broadcasts no more than these.
_MOST_AXES = 32


def decode(node: OnnxNode, constants: OnnxConstants) -> Meaning:
    """What a node means.

    Returns:
        The meaning; Opaque with the reason where the operator is foreign, unknown, of an unknown version, or does not
        have the constants, ranks and attributes that folding needs.
    """
    operator = operator_of(node)
    if operator is None and not node.is_standard:
        kind = "a function of this model" if node.calls_function else f"domain {node.proto.domain!r}"
        hint = INLINE_FUNCTIONS if node.calls_function else ""
        return Opaque(Reason.FOREIGN_DOMAIN, f"{node.proto.op_type} of {kind} is not ONNX's own operator", hint)
    if operator is None or operator.decode is None:
        return _without_decoder(node, operator)
    if not node.outputs or node.outputs[0] is None:
        return Opaque(Reason.MALFORMED, f"{node.op} has no first output")
    if any(len(value.shape) > _MOST_AXES for value in (*node.inputs, *node.outputs) if value and value.shape):
        return Opaque(Reason.UNKNOWN_SHAPE, f"a tensor of {node.op} has more than {_MOST_AXES} axes")
    version = _version(node)
    if version is None:
        return Opaque(Reason.MALFORMED, f"{node.op} is no operator of opset {node.opset}")
    if version not in operator.versions:
        return Opaque(Reason.UNKNOWN_VERSION, f"{node.op} has version {version} at opset {node.opset}")
    try:
        return operator.decode(OnnxContext(node, constants))
    except Undecodable as stop:
        return stop.opaque
    except ReferenceAttributeError as error:
        return Opaque(Reason.DYNAMIC_PARAMETER, str(error))
    except (TypeError, ValueError, IndexError) as error:
        return Opaque(Reason.MALFORMED, f"{node.op} cannot be read: {error}")


def _without_decoder(node: OnnxNode, operator: Operator | None) -> Opaque:
    if operator is not None and operator.why_not_linear:
        return Opaque(Reason.NOT_LINEAR, f"{node.op} {operator.why_not_linear}", operator.hint)
    return Opaque(Reason.UNKNOWN_OPERATOR, f"{node.op} has no rule")


def _version(node: OnnxNode) -> int | None:
    """Version of a node's operator; of domains whose schemas onnx does not have, that of the domain."""
    domain = canonical_domain(node.proto.domain)
    imported = node.scope.opsets.get(domain, 1)
    if domain not in DOMAINS_OF_ONNX:
        return imported
    try:
        return int(onnx.defs.get_schema(node.proto.op_type, imported, domain).since_version)
    except onnx.defs.SchemaError:
        return None
