"""Attention in one operator."""

from bnfold.frontends.aten.operators.call import AtenCall
from bnfold.frontends.aten.operators.family import AtenFamily
from bnfold.frontends.aten.operators.row import Keeps
from bnfold.frontends.common.dimensions import shared_axes
from bnfold.frontends.common.undecodable import Undecodable
from bnfold.refusal import Reason
from bnfold.semantics import Attention

FAMILY = AtenFamily()


@FAMILY.operator("scaled_dot_product_attention", keeps=Keeps.RANK | Keeps.TYPE)
def decode_attention(call: AtenCall) -> Attention:
    """Softmax of Q K', times V; a causal mask leaves every query a key, any other mask may leave it none.

    Source: torch.nn.functional.scaled_dot_product_attention.
    """
    call.require_float(*(call.value(name) for name in ("query", "key", "value")))
    shapes = [call.shape(name) for name in ("query", "key", "value")]
    if len({len(shape) for shape in shapes}) != 1:
        raise Undecodable(Reason.UNKNOWN_OPERATOR, f"{call.node.op} of tensors of several ranks has no rule")
    if call.fixed("dropout_p"):
        raise Undecodable(Reason.TRAINING_MODE, f"{call.node.op} drops weights by chance")
    value = None if call.has("attn_mask") else call.source("value")
    return Attention(len(shapes[0]), call.source("key"), value, heads=shared_axes(shapes))
