"""Products of two activations: what attention is spelled out in, and other sums of products."""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from bnfold.affine import Affine, Array, Drift
from bnfold.refusal import Reason, Refusal
from bnfold.rules.joins import on_operand
from bnfold.rules.moves import Moved
from bnfold.semantics import Factor, MatrixProduct, Operand

_LEFT, _RIGHT = 0, 1
_NO_SHIFT = Refusal(Reason.SHIFT_CANNOT_PASS, "a product of two activations keeps no shift")


def push_through_matrix_product(node: MatrixProduct, inputs: Mapping[int, Affine]) -> Moved | Refusal:
    """Scales in front of a product of two activations act behind it; so does a shift that the rows of weights add up.

    Before::  a -- scale p; b -- affine(s, t); a b -- y
    After::   a, b -- a b -- affine(p * s, t) -- y
    Law:      (p * a) (s * b) == p * s * (a b); a (b + t) == a b + t, where the rows of a sum to 1 and t is alike in all
              rows of b; a (b + t) == a b + d, where t is alike in all columns of b, and so is d, whatever a is
    Shapes:   a: (..., n, k), b: (..., k, m), y: (..., n, m), of any ranks, or with axes in other orders;
              p: (..., n, 1), s: (..., 1, m); t: (..., 1, m), or (..., k, 1) where d: (..., n, 1), which is a `Drift`
    Refuses:  SHIFT_CANNOT_PASS: any other shift;
              WRONG_AXIS: a scale varies along the axis that is summed
    Source:   ONNX MatMul-13, Einsum-12
    """
    scale = np.ones((1,) * node.rank)
    for index, affine in inputs.items():
        factor = node.factors[index]
        if any(varies(affine.scale, axis) for axis in factor.summed):
            return Refusal(Reason.WRONG_AXIS, "the map varies along the axis that a product of two activations sums")
        scale = scale * _of_product(affine.scale, factor, node.rank)
    shifted = [index for index, affine in inputs.items() if affine.has_shift]
    if not shifted:
        return Moved(None, {0: Affine(scale, np.zeros((1,) * node.rank))})
    (index, *others) = shifted
    factor, shift = node.factors[index], inputs[index].shift
    alike = not any(varies(shift, axis) for axis in factor.summed)
    if node.rows_sum_to_one and index == _RIGHT and _LEFT not in inputs and alike:
        return Moved(None, {0: Affine(scale, _of_product(shift, factor, node.rank))})
    if not others and not np.any(scale != 1.0) and _is_alike_at_the_end(node, index, shift):
        return Moved(None, {0: Drift.along_last_axis(node.rank)})
    return _NO_SHIFT


def _is_alike_at_the_end(node: MatrixProduct, index: int, shift: Array) -> bool:
    """Whether what a shift on one factor adds to the product is alike along its last axis, whatever the other is."""
    last, other = node.rank - 1, node.factors[1 - index]
    own = [axis for axis, place in enumerate(node.factors[index].axes) if place == last]
    return last not in other.axes and not any(varies(shift, axis) for axis in own)


def pull_through_matrix_product(node: MatrixProduct, affine: Affine) -> Moved | Refusal:
    """A scale behind a product of two activations goes to one that has its axis, a shift to what weights apply to.

    Where the operator has a form with a bias, that takes the shift.

    Before::  a, b -- a b -- affine(s, t) -- y
    After::   b -- affine(s, t); a b -- y; or b -- scale s; a b + t -- y
    Law:      s * (a b) + t == a (s * b + t), where s and t are alike in all rows, and the rows of a sum to 1 if t is
              not 0; s * (a b) == (s * a) b, where s is alike in all columns
    Shapes:   a: (..., n, k), b: (..., k, m), y: (..., n, m), of any ranks, or with axes in other orders; s: (..., 1, m)
              or (..., n, 1); t: (..., 1, m)
    Refuses:  SHIFT_CANNOT_PASS: the rows of a need not sum to 1; WRONG_AXIS: no factor has the axes along which the map
              varies; UNKNOWN_SHAPE: whether it has is not known before run time
    Source:   ONNX MatMul-13, Einsum-12, Gemm-13
    """
    after = None
    if affine.has_shift and not node.rows_sum_to_one:
        if not node.takes_bias:
            return _NO_SHIFT
        bias = affine.shift
        for axis in range(node.rank - 1):
            if varies(bias, axis):
                return Refusal(Reason.WRONG_AXIS, f"the shift varies along axis {axis}, the bias of a product does not")
            bias = first(bias, axis)
        after = replace(node, bias=bias)
        affine = affine.scale_alone()
        if not affine.has_scale:
            return Moved(after)
    wanted = (_RIGHT,) if affine.has_shift else (_RIGHT, _LEFT)
    answers = {index: _for_factor(node, index, affine) for index in wanted}
    choices = [{index: found} for index, found in answers.items() if not isinstance(found, Refusal)]
    if not choices:
        return next(found for found in answers.values() if isinstance(found, Refusal))
    return Moved(after, choices[0], tuple(choices[1:]))


def _for_factor(node: MatrixProduct, index: int, affine: Affine) -> Affine | Refusal:
    """A map of the product as one of a factor, which has not all of its axes, and perhaps one place on others."""
    factor = node.factors[index]
    parts: list[Array] = []
    for values in (affine.scale, affine.shift):
        foreign = [axis for axis in range(node.rank) if axis not in factor.axes and varies(values, axis)]
        if foreign:
            return Refusal(Reason.WRONG_AXIS, f"the map varies along axis {foreign[0]}, which is another factor's")
        lengths = dict(zip(factor.axes, factor.lengths, strict=True))
        found = on_operand(values, Operand(tuple(lengths.get(axis, 1) for axis in range(node.rank)), node.rank))
        if isinstance(found, Refusal):
            return found
        parts.append(_of_factor(found, factor))
    return Affine(parts[0], parts[1])


def _of_product(values: Array, factor: Factor, rank: int) -> Array:
    """Parameters for a factor, which are alike along what is summed, as parameters for the product."""
    for axis in factor.summed:
        values = first(values, axis)
    lengths = dict(zip(factor.axes, values.shape, strict=True))
    order = [factor.axes.index(place) for place in range(rank) if place in lengths]
    placed: Array = values.transpose(*factor.summed, *order).reshape([lengths.get(place, 1) for place in range(rank)])
    return placed


def _of_factor(values: Array, factor: Factor) -> Array:
    """Parameters for the product, which are alike along axes that the factor has not, as parameters for the factor."""
    kept = [place for place in factor.axes if place is not None]
    others = [axis for axis in range(values.ndim) if axis not in kept]
    lengths = [1 if place is None else values.shape[place] for place in factor.axes]
    placed: Array = values.transpose(*others, *kept).reshape(lengths)
    return placed


def first(values: Array, axis: int) -> Array:
    """The parameters at the first place of an axis."""
    return np.take(values, [0], axis=axis)


def varies(values: Array, axis: int) -> bool:
    """Whether parameters are not alike along an axis."""
    return bool(np.any(values != first(values, axis)))
