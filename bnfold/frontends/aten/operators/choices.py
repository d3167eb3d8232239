"""where, maximum and minimum: each number is that of one of two tensors."""

from bnfold.frontends.aten.operators.attention import hides, operand
from bnfold.frontends.aten.operators.call import AtenCall
from bnfold.frontends.aten.operators.family import AtenFamily
from bnfold.frontends.common.undecodable import Undecodable
from bnfold.refusal import Reason
from bnfold.semantics import Choice, Masking

FAMILY = AtenFamily()

_CHOSEN = ("self", "other")


@FAMILY.operator("where")
def decode_where(call: AtenCall) -> Choice | Masking:
    """One of two tensors that are computed, or scores and minus infinity, whatever chooses. Source: torch.where."""
    if not set(_CHOSEN) <= call.node.arguments.keys():
        raise Undecodable(Reason.UNKNOWN_OPERATOR, f"{call.node.op} of a condition alone has no rule")
    hidden = [name for name in _CHOSEN if hides(call.node.arguments[name], call)]
    if len(hidden) != 1:
        return choice(call, by_size=False)
    name = "other" if hidden == ["self"] else "self"
    shape, result = call.shape(name), call.output_shape()
    return Masking(operand(shape, len(result)), len(result), call.source(name))


@FAMILY.operator("fmax", "fmin", "maximum", "minimum")
def decode_extreme(call: AtenCall) -> Choice:
    """The larger or smaller of two tensors. Source: torch.maximum, torch.fmax."""
    return choice(call, by_size=True)


def choice(call: AtenCall, *, by_size: bool) -> Choice:
    """Numbers of one of two tensors that are computed, `self` and `other`.

    Args:
        call: the node.
        by_size: as in `Choice`.
    """
    constant = next((name for name in _CHOSEN if call.is_constant(call.node.arguments[name])), None)
    if constant is not None:
        raise Undecodable(Reason.NOT_LINEAR, f"{constant!r} of {call.node.op} is a constant, which keeps its numbers")
    call.require_float(*(call.value(name) for name in _CHOSEN))
    rank = len(call.output_shape())
    return Choice(rank, {call.source(name): operand(call.shape(name), rank) for name in _CHOSEN}, by_size=by_size)
