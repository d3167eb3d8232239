"""From a node to its meaning, by the row of its operator. What is not fully understood becomes Opaque."""

from bnfold.frontends.aten.constants import AtenConstants, is_float
from bnfold.frontends.aten.memory import works_in_place
from bnfold.frontends.aten.node import AtenNode
from bnfold.frontends.aten.operators.call import AtenCall
from bnfold.frontends.aten.removal import separations
from bnfold.frontends.common.undecodable import Undecodable
from bnfold.refusal import Reason, Refusal
from bnfold.semantics import AffineMap, Commuting, Meaning, Opaque, Rearrangement


def decode(node: AtenNode, constants: AtenConstants) -> Meaning:
    """What a node means.

    Returns:
        The meaning; Opaque with the reason where the operator is foreign or unknown, writes to memory that others see,
        or does not have the constants, ranks and arguments that folding needs.
    """
    if node.writes and not node.is_batch_norm and not works_in_place(node):
        return Opaque(Reason.MUTATED, f"{node.op} writes to memory that is also seen elsewhere")
    decoder = node.operator.decode
    if decoder is None:
        return _without_rule(node)
    if not node.outputs or node.outputs[0] is None:
        return Opaque(Reason.MALFORMED, f"{node.op} has no first output")
    try:
        meaning = decoder(AtenCall(node, constants))
    except Undecodable as stop:
        return stop.opaque
    except (TypeError, ValueError, IndexError, KeyError) as error:
        return Opaque(Reason.MALFORMED, f"{node.op} cannot be read: {error}")
    return _checked(node, meaning)


def _without_rule(node: AtenNode) -> Opaque:
    if not node.op.startswith("aten::"):
        return Opaque(Reason.FOREIGN_DOMAIN, f"{node.op} is not an operator of PyTorch's own set")
    return Opaque(Reason.UNKNOWN_OPERATOR, f"{node.operator.functional} has no rule")


def _checked(node: AtenNode, meaning: Meaning) -> Meaning:
    """What holds for whole families: types are real and stay, and nobody changes what a removed node would read."""
    if isinstance(meaning, AffineMap):
        separate = separations(node, meaning.source)
        if isinstance(separate, Refusal):
            return Opaque(separate.reason, separate.evidence)
    if isinstance(meaning, Commuting) or (isinstance(meaning, Rearrangement) and not meaning.steps):
        types = {value.dtype for value in (node.inputs[meaning.source], node.outputs[0]) if value is not None}
        converts = isinstance(meaning, Rearrangement)
        if any(dtype is not None and not is_float(dtype) for dtype in types) or (
            len(types - {None}) > 1 and not converts
        ):
            return Opaque(Reason.NOT_LINEAR, f"{node.op} computes with {', '.join(sorted(map(str, types)))}")
    return meaning
