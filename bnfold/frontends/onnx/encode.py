"""From a new meaning of a node to the edit that gives it to the node, by the row of its operator."""

from bnfold.errors import InternalError
from bnfold.frontends.common.signatures import kinds_encoded
from bnfold.frontends.onnx.constants import OnnxConstants
from bnfold.frontends.onnx.edit import OnnxEdit
from bnfold.frontends.onnx.graph import OnnxNode
from bnfold.frontends.onnx.operators.context import OnnxContext
from bnfold.frontends.onnx.operators.table import operator_of
from bnfold.refusal import Refusal
from bnfold.semantics import Meaning


def encode(node: OnnxNode, meaning: Meaning, constants: OnnxConstants) -> OnnxEdit | Refusal:
    """The edit that gives a node this meaning.

    Returns:
        The edit; OVERFLOW or UNDERFLOW where the stored type cannot hold a new parameter.
    """
    operator = operator_of(node)
    if operator is None or operator.encode is None or type(meaning) not in kinds_encoded(operator.encode):
        raise InternalError(f"{node.op} cannot be given the meaning {type(meaning).__name__}")
    return operator.encode(OnnxContext(node, constants), meaning)
