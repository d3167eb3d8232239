"""From a new meaning of a node to the edit that gives it to the node, by the row of its operator."""

from bnfold.errors import InternalError
from bnfold.frontends.aten.constants import AtenConstants
from bnfold.frontends.aten.edit import AtenEdit
from bnfold.frontends.aten.node import AtenNode
from bnfold.frontends.aten.operators.call import AtenCall
from bnfold.frontends.common.signatures import kinds_encoded
from bnfold.refusal import Refusal
from bnfold.semantics import Meaning


def encode(node: AtenNode, meaning: Meaning, constants: AtenConstants) -> AtenEdit | Refusal:
    """The edit that gives a node this meaning.

    Returns:
        The edit; OVERFLOW or UNDERFLOW where the stored type cannot hold a new parameter; NO_BIAS where a recurrent
        operator has no bias.
    """
    if node.operator.encode is None or type(meaning) not in kinds_encoded(node.operator.encode):
        raise InternalError(f"{node.op} cannot be given the meaning {type(meaning).__name__}")
    edit: AtenEdit | Refusal = node.operator.encode(AtenCall(node, constants), meaning)
    return edit
