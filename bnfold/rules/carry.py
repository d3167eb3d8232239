"""Maps on tensors that others read: what a node makes of them on its other sides, and how it lives with them.

A map says what a tensor's readers have to apply to it: old value = map(new value). A node is given the maps of some of
its tensors. `spread` says which maps its other tensors must have then; `settle` says what the node must mean so that it
makes new outputs of new inputs. `pull` and `push` move a map from one side to the other; here both sides may have some.
An operator with weights applies the maps of its inputs, and undoes that of its output: only there is a scale of 0 in
the way.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TypeAlias

import numpy as np

from bnfold.affine import Affine, Array, Drift, identity
from bnfold.refusal import Reason, Refusal
from bnfold.rules.contraction import why_shift_stays
from bnfold.rules.dispatch import pull, push, refuse
from bnfold.rules.joins import aligned, on_operand
from bnfold.semantics import (
    AffineMap,
    Concatenation,
    Contraction,
    Embedding,
    Form,
    FusedContraction,
    Meaning,
    Normalisation,
    Opaque,
    Operand,
    Product,
    Recurrent,
    Statistics,
    Sum,
)

Maps: TypeAlias = Mapping[int, Affine]

# What float64 may lose where a map is divided by another, relative to the larger of two that should be equal.
_LOST = 2.0**-48


@dataclass(frozen=True, eq=False)
class Sides:
    """Maps on the tensors of one node, by index; a tensor without one keeps its values.

    Attributes:
        inputs: on what it reads.
        outputs: on what it makes.
    """

    inputs: Maps = field(default_factory=dict)
    outputs: Maps = field(default_factory=dict)


def agree(one: Affine, other: Affine) -> bool:
    """Whether two maps of one rank are the same, but for the last bits of float64."""
    return _close(one.scale, other.scale) and _close(one.shift, other.shift)


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
            return _spread_over_arithmetic(node, known)
        case Sum():
            return _spread_over_sum(node, known)
        case Product():
            return _spread_over_product(node, known)
        case _:
            return _spread_over_passing(node, known)


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
        after = _with_moved_statistics(moved.meaning or after, sides.inputs)
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


def _with_moved_statistics(node: Meaning, inputs: Maps) -> Meaning:
    """What a norm knows of its input, in units of what that holds now: a mean far from it would swallow its digits."""
    if not isinstance(node, AffineMap) or node.statistics is None or node.channel_axis is None:
        return node
    channels = inputs[node.source].along(node.channel_axis)
    if channels is None:
        return node
    scale = np.where(channels.scale == 0, 1.0, channels.scale)
    known = node.statistics
    return replace(node, statistics=Statistics((known.mean - channels.shift) / scale, known.deviation / np.abs(scale)))


def _spread_over_passing(node: Meaning, known: Sides) -> Sequence[Sides] | Refusal:
    """Activations, pooling, data movement, Concat, Split: a map on one side is a map on the other."""
    inputs: Maps = known.inputs
    if not inputs or (known.outputs and isinstance(node, Concatenation)):
        pulled = pull(node, known.outputs)
        if isinstance(pulled, Refusal):
            return pulled
        inputs = pulled.requirements
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


def _spread_over_arithmetic(node: AffineMap, known: Sides) -> Sequence[Sides] | Refusal:
    """A Mul takes scales, and a shift acts on both of its sides; an Add takes shifts, and a scale acts on both."""
    if set(known.inputs) - {node.source}:
        return Refusal(Reason.NOT_LINEAR, "the operator reads the tensor as one of its parameters")
    before, behind = known.inputs.get(node.source), known.outputs.get(0)
    if before is not None and behind is None:
        passed = before.scale_alone() if node.form is Form.SHIFT else _shifted(node.affine.scale * before.shift)
        return (Sides(outputs=_proper({0: passed})),)
    if behind is not None and before is None:
        if node.form is Form.SHIFT:
            return (Sides(inputs=_proper({node.source: behind.scale_alone()})),)
        if behind.has_shift and not np.all(node.affine.scale):
            return Refusal(Reason.ZERO_SCALE, "a shift behind a multiplication by 0 has no counterpart in front of it")
        shift = behind.shift / node.affine.scale if behind.has_shift else behind.shift
        return (Sides(inputs=_proper({node.source: _shifted(shift)})),)
    return (Sides(),)


def settle_arithmetic(node: AffineMap, sides: Sides) -> AffineMap | Refusal:
    """Mul, Div, Add and Sub by a constant c take of both maps what their constant can express.

    Before::  x -- c * x, or r * x + c with r of 1 or -1 -- y
    After::   x' -- c' * x', or r * x' + c' -- y', where x = a x' + b and y = p y' + q
    Law:      Mul: c' == c a / p, where q == c b; Add: c' == (c + r b - q) / p, where a == p
    Shapes:   a, b, p, q, c: of the rank of x
    Refuses:  CYCLE: the condition does not hold; ZERO_SCALE: p is 0
    Source:   ONNX Mul-14, Div-14, Add-14, Sub-14
    """
    rank = node.affine.rank
    before = sides.inputs.get(node.source, identity(rank))
    behind = sides.outputs.get(0, identity(rank))
    undone = behind.scale_alone().inverse()
    if isinstance(undone, Refusal):
        return undone
    c = node.affine.shift if node.form is Form.SHIFT else node.affine.scale
    holds = _close(before.scale, behind.scale) if node.form is Form.SHIFT else _close(behind.shift, c * before.shift)
    if not holds:
        return Refusal(Reason.CYCLE, "what reaches the operator from one side is not what the other side asks for")
    if node.form is Form.SHIFT:
        constant = (c + node.affine.scale * before.shift - behind.shift) * undone.scale
        return replace(node, affine=Affine(node.affine.scale, constant))
    return replace(node, affine=Affine(c * before.scale * undone.scale, np.zeros((1,) * rank)))


def _spread_over_sum(node: Sum, known: Sides) -> Sequence[Sides] | Refusal:
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
        return (Sides(_proper(inputs), _proper(outputs)),)
    choices = [
        Sides(
            _proper({**inputs, index: Affine(inputs[index].scale, node.operands[index].sign * own)}), _proper(outputs)
        )
        for index in inputs
        if not isinstance(own := on_operand(missing, node.operands[index]), Refusal)
    ]
    if outputs:
        choices.append(Sides(_proper(inputs), {0: Affine(scale, -missing)}))
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
    largest = max([_largest(affine.shift) for affine in (*sides.inputs.values(), *sides.outputs.values())], default=0.0)
    if _largest(missing) > _LOST * largest:
        return Refusal(Reason.CYCLE, f"shifts of {_largest(missing):.3g} are left over at a sum")
    return None


def _common_scale(node: Sum, known: Sides) -> Array | Refusal:
    found = [aligned(affine, node.rank).scale for affine in (*known.outputs.values(), *known.inputs.values())]
    for other in found[1:]:
        if not _close(found[0], other):
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


def _spread_over_product(node: Product, known: Sides) -> Sequence[Sides] | Refusal:
    """A scale on one tensor of a product of activations is on the result, too, or another factor has its inverse.

    Law:      (a x) (b y) == (a b) (x y)
    Refuses:  SHIFT_CANNOT_PASS: any map has a shift; ZERO_SCALE: a scale that must be undone is 0
    """
    scale = _left_of_product(node, known)
    if isinstance(scale, Refusal):
        return scale
    choices = [] if 0 in known.outputs else [Sides(outputs=_proper({0: _scaled(scale)}))]
    undone = _scaled(scale).inverse()
    for index, operand in enumerate(node.operands):
        if index in known.inputs or isinstance(undone, Refusal):
            continue
        own = on_operand(undone.scale, operand)
        if not isinstance(own, Refusal):
            choices.append(Sides(inputs=_proper({index: _scaled(own)})))
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
    if not _close(scale, np.ones((1,) * node.rank)):
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


def _shifted(shift: Array) -> Affine:
    return Affine(np.ones((1,) * shift.ndim), shift)


def _proper(maps: Maps) -> Maps:
    return {index: affine for index, affine in maps.items() if not affine.is_identity}


def _without(maps: Maps, known: Maps) -> Maps:
    return {index: affine for index, affine in _proper(maps).items() if index not in known}


def _same(one: Affine | None, other: Affine | None) -> bool:
    if one is None or other is None:
        return all(affine is None or affine.is_identity for affine in (one, other))
    return agree(one, other)


def _close(one: Array, other: Array) -> bool:
    return bool(np.all(np.abs(one - other) <= _LOST * np.maximum(np.abs(one), np.abs(other))))


def _largest(values: Array) -> float:
    return float(np.abs(values).max(initial=0.0))
