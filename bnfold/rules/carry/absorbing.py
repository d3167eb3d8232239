"""Operators with weights, which absorb maps on both sides."""

from bnfold.affine import Affine
from bnfold.refusal import Reason, Refusal
from bnfold.rules.carry.sides import Sides
from bnfold.rules.dispatch import pull, push
from bnfold.semantics import Meaning


def settle_absorber(node: Meaning, sides: Sides) -> Meaning | Refusal:
    """An operator with parameters takes the map of its input, and the inverse of that of its output.

    Before::  x -- node -- y
    After::   x' -- node' -- y', where x = m(x') and y = n(y')
    Law:      node' == inverse(n) after node after m
    Shapes:   m: of the rank of x; n: of the rank of y
    Refuses:  ZERO_SCALE: n cannot be undone; OTHER_BRANCH: the operator adds a tensor that would need its scale;
              what the operator refuses as an absorber on either side
    Source:   ONNX Conv-22, Gemm-13, BatchNormalization-15; the rules for pull and push
    """
    after: Meaning = node
    if sides.inputs:
        moved = push(after, sides.inputs)
        if isinstance(moved, Refusal):
            return moved
        after = moved.meaning or after
    if sides.outputs:
        inverses: dict[int, Affine] = {}
        for index, affine in sides.outputs.items():
            inverse = affine.inverse()
            if isinstance(inverse, Refusal):
                return inverse
            inverses[index] = inverse
        moved = pull(after, inverses)
        if isinstance(moved, Refusal):
            return moved
        if moved.requirements:
            return Refusal(Reason.OTHER_BRANCH, "the operator adds a tensor that would need the same scale")
        after = moved.meaning or after
    return after
