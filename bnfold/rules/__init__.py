"""The algebra: pure functions on meanings and maps. No rule ever sees a graph, none returns a bool."""

from collections.abc import Callable

from bnfold.affine import Affine
from bnfold.refusal import Reason, Refusal
from bnfold.rules.affine_map import (
    absorb_input_into_affine_map,
    absorb_output_into_affine_map,
    read_batch_norm_as_affine,
)
from bnfold.rules.contraction import absorb_output_into_contraction
from bnfold.rules.moves import Moved
from bnfold.semantics import AffineMap, Contraction, Meaning, Opaque

__all__ = ["ALL", "Moved", "pull", "push", "refuse"]

ALL: tuple[Callable[..., object], ...] = (
    read_batch_norm_as_affine,
    absorb_output_into_contraction,
    absorb_output_into_affine_map,
    absorb_input_into_affine_map,
)
"""Every rule, in the order of docs/rules.md."""


def pull(meaning: Meaning, affine: Affine) -> Moved | Refusal:
    """Make a node's output carry `affine` on top of what it carries now: the map moves upstream."""
    match meaning:
        case Contraction():
            return absorb_output_into_contraction(meaning, affine)
        case AffineMap():
            return absorb_output_into_affine_map(meaning, affine)
        case Opaque():
            return refuse(meaning)


def push(meaning: Meaning, affine: Affine) -> Moved | Refusal:
    """Make a node bear its input without `affine` on it: the map moves downstream."""
    match meaning:
        case AffineMap():
            return absorb_input_into_affine_map(meaning, affine)
        case Contraction():
            return Refusal(Reason.UNKNOWN_OPERATOR, "bnfold does not fold into an operator's input side yet")
        case Opaque():
            return refuse(meaning)


def refuse(node: Opaque) -> Refusal:
    """An operator that is not understood lets nothing pass."""
    return Refusal(node.reason, node.evidence, hint=node.hint)
