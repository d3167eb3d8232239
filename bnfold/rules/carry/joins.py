"""Sums and products of activations."""

from collections.abc import Sequence

import numpy as np

from bnfold.affine import Affine, Array, identity
from bnfold.refusal import Reason, Refusal
from bnfold.rules.carry.sides import LOST, Maps, Sides, close, magnitude, proper
from bnfold.rules.joins import aligned, on_operand
from bnfold.semantics import Operand, Product, Sum


def spread_over_sum(node: Sum, known: Sides) -> Sequence[Sides] | Refusal:
    """All tensors of a sum have the same scale; what is left of the shifts goes to one that has no map yet.

    Law:      y = sum r_i x_i, with x_i = a x_i' + b_i and y = a y' + b, where b = sum r_i b_i
    Refuses:  OTHER_BRANCH: two known scales differ; what `on_operand` refuses for a branch that is repeated
    """
    scale = _common_scale(node, known)
    if isinstance(scale, Refusal):
        return scale
    inputs: dict[int, Affine] = {}
    for index, operand in enumerate(node.operands):
        if index in known.inputs:
            continue
        own = on_operand(scale, operand)
        if isinstance(own, Refusal):
            return own
        inputs[index] = Affine(own, np.zeros((1,) * operand.rank))
    missing = _missing_shift(node, known)
    outputs = {} if 0 in known.outputs else {0: Affine(scale, np.zeros((1,) * node.rank))}
    if not np.any(missing):
        return (Sides(proper(inputs), proper(outputs)),)
    choices = [
        Sides(proper({**inputs, index: Affine(inputs[index].scale, own / node.operands[index].sign)}), proper(outputs))
        for index in inputs
        if not isinstance(own := on_operand(missing, node.operands[index]), Refusal)
    ]
    if outputs:
        choices.append(Sides(proper(inputs), {0: Affine(scale, -missing)}))
    return choices or Refusal(Reason.SHIFT_CANNOT_PASS, "no tensor of the sum is left that could take the shift")


def settle_sum(node: Sum, sides: Sides) -> Refusal | None:
    """All tensors of a sum have one scale, and their shifts add up.

    Before::  x_1, x_2, ... -- sum of r_i x_i -- y
    After::   x_1', x_2', ... -- sum of r_i x_i' -- y', where x_i = a x_i' + b_i and y = a y' + b
    Law:      b == sum of r_i b_i
    Shapes:   a, b: of the rank of y; b_i: of the rank of x_i
    Refuses:  OTHER_BRANCH: two scales differ; CYCLE: shifts are left over
    Source:   ONNX Add-14, Sub-14, Sum-13
    """
    complete = Sides(_completed(node.operands, sides.inputs), _with_output(node.rank, sides.outputs))
    scale = _common_scale(node, complete)
    if isinstance(scale, Refusal):
        return scale
    missing = _missing_shift(node, sides)
    largest = max(
        [magnitude(affine.shift) for affine in (*sides.inputs.values(), *sides.outputs.values())], default=0.0
    )
    if magnitude(missing) > LOST * largest:
        return Refusal(Reason.CYCLE, f"shifts of {magnitude(missing):.3g} are left over at a sum")
    return None


def _common_scale(node: Sum, known: Sides) -> Array | Refusal:
    found = [aligned(affine, node.rank).scale for affine in (*known.outputs.values(), *known.inputs.values())]
    for other in found[1:]:
        if not close(found[0], other):
            furthest = float(np.abs(found[0] - other).max())
            return Refusal(
                Reason.OTHER_BRANCH, f"two tensors of a sum need different scales: they differ by {furthest:.3g}"
            )
    return found[0]


def _missing_shift(node: Sum, known: Sides) -> Array:
    """What the shift of the output is larger than those of the inputs together."""
    missing: Array = np.zeros((1,) * node.rank)
    for affine in known.outputs.values():
        missing = missing + affine.shift
    for index, affine in known.inputs.items():
        missing = missing - node.operands[index].sign * aligned(affine, node.rank).shift
    return missing


def spread_over_product(node: Product, known: Sides) -> Sequence[Sides] | Refusal:
    """A scale on one tensor of a product of activations is on the result, too, or another factor has its inverse.

    Law:      (a x) (b y) == (a b) (x y)
    Refuses:  SHIFT_CANNOT_PASS: any map has a shift; ZERO_SCALE: a scale that must be undone is 0
    """
    scale = _left_of_product(node, known)
    if isinstance(scale, Refusal):
        return scale
    choices = [] if 0 in known.outputs else [Sides(outputs=proper({0: _scaled(scale)}))]
    undone = _scaled(scale).inverse()
    for index, operand in enumerate(node.operands):
        if index in known.inputs or isinstance(undone, Refusal):
            continue
        own = on_operand(undone.scale, operand)
        if not isinstance(own, Refusal):
            choices.append(Sides(inputs=proper({index: _scaled(own)})))
    return choices or (Sides(),)


def settle_product(node: Product, sides: Sides) -> Refusal | None:
    """The scales of the factors make that of a product.

    Before::  x_1, x_2, ... -- product of x_i -- y
    After::   x_1', x_2', ... -- product of x_i' -- y', where x_i = a_i x_i' and y = a y'
    Law:      a == product of a_i
    Shapes:   a: of the rank of y; a_i: of the rank of x_i
    Refuses:  SHIFT_CANNOT_PASS: a map has a shift; CYCLE: the scales do not make that of the product;
              ZERO_SCALE: a is 0
    Source:   ONNX Mul-14
    """
    scale = _left_of_product(node, sides)
    if isinstance(scale, Refusal):
        return scale
    if not close(scale, np.ones((1,) * node.rank)):
        return Refusal(Reason.CYCLE, "the scales of the factors do not make the scale of the product")
    return None


def _left_of_product(node: Product, known: Sides) -> Array | Refusal:
    """The scales of the inputs together, over that of the output."""
    if any(affine.has_shift for affine in (*known.inputs.values(), *known.outputs.values())):
        return Refusal(Reason.SHIFT_CANNOT_PASS, "a product of two activations keeps no shift")
    scale: Array = np.ones((1,) * node.rank)
    for affine in known.outputs.values():
        undone = affine.inverse()
        if isinstance(undone, Refusal):
            return undone
        scale = undone.scale
    for affine in known.inputs.values():
        scale = scale * aligned(affine, node.rank).scale
    return scale


def _completed(operands: Sequence[Operand], maps: Maps) -> Maps:
    return {index: maps.get(index, identity(operand.rank)) for index, operand in enumerate(operands)}


def _with_output(rank: int, maps: Maps) -> Maps:
    return {0: maps.get(0, identity(rank))}


def _scaled(scale: Array) -> Affine:
    return Affine(scale, np.zeros((1,) * scale.ndim))
