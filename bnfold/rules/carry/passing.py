"""Operators that let maps pass, and translate those of one side to the other."""

from collections.abc import Sequence

from bnfold.affine import Affine, Drift
from bnfold.refusal import Reason, Refusal
from bnfold.rules.carry.sides import Maps, Sides, agree, proper
from bnfold.rules.dispatch import pull, push
from bnfold.rules.joins import aligned
from bnfold.semantics import Choice, Concatenation, Meaning, Split


def spread_over_passing(node: Meaning, known: Sides) -> Sequence[Sides] | Refusal:
    """Activations, pooling, data movement, Concat, Split: a map on one side is a map on the other."""
    inputs: Maps = known.inputs
    if isinstance(node, Choice) and inputs and not known.outputs:
        known = Sides(inputs, {0: aligned(next(iter(inputs.values())), node.rank)})
        everywhere = spread_over_passing(node, known)
        return everywhere if isinstance(everywhere, Refusal) else (Sides(everywhere[0].inputs, known.outputs),)
    if not inputs or (known.outputs and isinstance(node, (Choice, Concatenation))):
        pulled = pull(node, known.outputs)
        if isinstance(pulled, Refusal):
            return pulled
        inputs = pulled.requirements
        if not isinstance(node, Split):  # which alone has outputs that are not known yet
            return (Sides(_without(inputs, known.inputs)),)
    pushed = push(node, inputs)
    if isinstance(pushed, Refusal):
        return pushed
    if any(isinstance(affine, Drift) for affine in pushed.requirements.values()):
        return Refusal(Reason.SHIFT_CANNOT_PASS, "what a shift adds to scores is not known before run time")
    return (Sides(_without(inputs, known.inputs), _without(pushed.requirements, known.outputs)),)


def settle_passing(node: Meaning, sides: Sides) -> Meaning | Refusal | None:
    """Activations, pooling, padding, data movement, Concat and Split: what they make of m must be n.

    Before::  x -- f -- y
    After::   x' -- f' -- y', where x = m(x') and y = n(y')
    Law:      f(m(x')) == n(f'(x')), with f' other than f only in a number that f itself holds
    Shapes:   m: of the rank of x; n: of the rank of y
    Refuses:  CYCLE: another map is asked for behind; what f refuses to let pass
    Source:   ONNX Relu-14, MaxPool-22, Pad-25, Concat-13, Split-18, Transpose-24; the rules for push
    """
    made: Maps = {}
    after: Meaning | None = None
    if sides.inputs:
        pushed = push(node, sides.inputs)
        if isinstance(pushed, Refusal):
            return pushed
        made, after = pushed.requirements, pushed.meaning
    for index in made.keys() | sides.outputs.keys():
        if not _same(made.get(index), sides.outputs.get(index)):
            return Refusal(Reason.CYCLE, "what reaches the operator from one side is not what the other side asks for")
    return after


def _without(maps: Maps, known: Maps) -> Maps:
    return {index: affine for index, affine in proper(maps).items() if index not in known}


def _same(one: Affine | None, other: Affine | None) -> bool:
    if one is None or other is None:
        return all(affine is None or affine.is_identity for affine in (one, other))
    return agree(one, other)
