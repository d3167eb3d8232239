"""Which rule a meaning has."""

from collections.abc import Sequence

from bnfold.refusal import Refusal
from bnfold.rules.carry.absorbing import settle_absorber
from bnfold.rules.carry.arithmetic import settle_arithmetic, spread_over_arithmetic
from bnfold.rules.carry.joins import settle_product, settle_sum, spread_over_product, spread_over_sum
from bnfold.rules.carry.passing import settle_passing, spread_over_passing
from bnfold.rules.carry.sides import Sides
from bnfold.rules.contraction import why_shift_stays
from bnfold.rules.dispatch import refuse
from bnfold.semantics import (
    AffineMap,
    Contraction,
    Embedding,
    Form,
    FusedContraction,
    Meaning,
    Normalisation,
    Opaque,
    Product,
    Recurrent,
    Sum,
)


def spread(node: Meaning, known: Sides) -> Sequence[Sides] | Refusal:
    """The maps that a node's other tensors must have, given those of some.

    Law: see the operator's rule in `pull` and `push`. An operator that absorbs asks for nothing.

    Args:
        node: the meaning.
        known: at least one map.

    Returns:
        Choices of which one is enough, each with the further maps alone.
    """
    match node:
        case Opaque():
            return refuse(node)
        case Contraction():
            stays = [why_shift_stays(node, affine) for affine in known.inputs.values()]
            return next((refusal for refusal in stays if refusal is not None), (Sides(),))
        case FusedContraction(contraction=contraction):
            stays = [why_shift_stays(contraction, affine) for affine in known.inputs.values()]
            return next((refusal for refusal in stays if refusal is not None), (Sides(),))
        case Recurrent() | Normalisation() | Embedding() | AffineMap(form=Form.SCALE_AND_SHIFT):
            return (Sides(),)
        case AffineMap():
            return spread_over_arithmetic(node, known)
        case Sum():
            return spread_over_sum(node, known)
        case Product():
            return spread_over_product(node, known)
        case _:
            return spread_over_passing(node, known)


def settle(node: Meaning, sides: Sides) -> Meaning | Refusal | None:
    """What a node must mean so that its tensors can hold the values that go with these maps.

    Law: outputs(new meaning(x)) == old meaning(inputs(x))

    Args:
        node: the meaning now.
        sides: the maps of all its tensors; those that are not there keep their values.

    Returns:
        The new meaning; None where the node stays as it is.
    """
    match node:
        case Opaque():
            return refuse(node)
        case Sum():
            return settle_sum(node, sides)
        case Product():
            return settle_product(node, sides)
        case (
            Contraction()
            | FusedContraction()
            | Recurrent()
            | Normalisation()
            | Embedding()
            | AffineMap(form=Form.SCALE_AND_SHIFT)
        ):
            return settle_absorber(node, sides)
        case AffineMap():
            return settle_arithmetic(node, sides)
        case _:
            return settle_passing(node, sides)
