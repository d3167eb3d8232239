"""Concat and Split: every part has its own piece of the map."""

from collections.abc import Mapping
from dataclasses import replace
from itertools import accumulate

import numpy as np

from bnfold.affine import Affine, Array
from bnfold.refusal import Reason, Refusal
from bnfold.rules.moves import Moved
from bnfold.rules.rearrangement import pull_through_steps, push_through_steps
from bnfold.semantics import Concatenation, Split


def pull_through_concatenation(node: Concatenation, affine: Affine) -> Moved | Refusal:
    """A map behind a concatenation becomes one map for each of its inputs; a constant takes its own.

    Before::  a, c -- concat -- affine(s, t) -- y
    After::   a -- affine(s1, t1); concat(a, s2 * c + t2) -- y
    Law:      s * concat(a, c) + t == concat(s1 * a + t1, s2 * c + t2), where s = concat(s1, s2), t = concat(t1, t2)
    Shapes:   a: (..., l_1, ...), c: (..., l_2, ...), y: (..., l_1 + l_2, ...); s, t: of the rank of y; s1, t1, s2, t2:
              what lies at the places of a and c, of length 1 where they do not vary
    Refuses:  UNKNOWN_SHAPE: the map varies along the joined axis, and the length of an input there is not known;
              NOT_FINITE: a constant holds NaN or infinity; OVERFLOW: it exceeds float64 then;
              what the steps of a Stack refuse
    Source:   ONNX Concat-13, ScatterND-18, ScatterElements-18, torch.stack
    """
    whole = pull_through_steps(node.behind, affine)
    if isinstance(whole, Refusal):
        return whole
    affine = whole
    sizes = [size for size in node.sizes if size is not None]
    if len(sizes) == len(node.sizes):
        stops = list(accumulate(sizes))
        pieces = [_part(affine, node.axis, *part) for part in zip([0, *stops], stops, strict=False)]
    elif node.axis in affine.varying_axes:
        return Refusal(Reason.UNKNOWN_SHAPE, f"the length of an input on axis {node.axis} is not known before run time")
    else:
        pieces = [affine.constant_along([node.axis])] * len(node.sizes)
    requirements: dict[int, Affine] = {}
    for index, piece in zip(node.inputs, pieces, strict=True):
        moved = pull_through_steps(node.steps, piece)
        if isinstance(moved, Refusal):
            return moved
        requirements[index] = moved
    changed: dict[int, Array] = {}
    for index, values in node.constants.items():
        mapped = _mapped(values, requirements.pop(index))
        if isinstance(mapped, Refusal):
            return mapped
        changed[index] = mapped
    return Moved(replace(node, constants=changed) if changed else None, requirements)


def _mapped(values: Array, affine: Affine) -> Array | Refusal:
    """A constant with a map on it, as large as before."""
    if not np.isfinite(values).all():
        return Refusal(Reason.NOT_FINITE, "a constant that is joined holds NaN or infinity before anything is folded")
    mapped: Array = values * affine.scale + affine.shift
    if mapped.shape != values.shape:
        return Refusal(Reason.PARAMETER_GROWS, f"a constant of shape {values.shape} would become one of {mapped.shape}")
    if not np.isfinite(mapped).all():
        return Refusal(Reason.OVERFLOW, "a constant that is joined exceeds the largest float64")
    return mapped


def push_through_concatenation(node: Concatenation, inputs: Mapping[int, Affine]) -> Moved | Refusal:
    """Maps in front of a concatenation become one map behind it; a part without a map gets scale 1 and shift 0.

    Before::  a -- affine(s1, t1); b; concat -- y
    After::   a, b -- concat -- affine(concat(s1, 1), concat(t1, 0)) -- y
    Law:      concat(s1 * a + t1, b) == concat(s1, 1) * concat(a, b) + concat(t1, 0)
    Shapes:   a: (..., l_1, ...), b: (..., l_2, ...), y: (..., l_1 + l_2, ...); s1, t1: of the rank of a, each length
              1 or that of a
    Refuses:  UNKNOWN_SHAPE: the length of an input on the joined axis is not known;
              what the steps of a Stack refuse
    Source:   ONNX Concat-13, ScatterND-18, ScatterElements-18, torch.stack
    """
    sizes = [size for size in node.sizes if size is not None]
    if len(sizes) < len(node.sizes):
        return Refusal(Reason.UNKNOWN_SHAPE, f"the length of an input on axis {node.axis} is not known before run time")
    scales: dict[int, Array] = {}
    shifts: dict[int, Array] = {}
    for index, affine in inputs.items():
        moved = push_through_steps(node.steps, affine)
        if isinstance(moved, Refusal):
            return moved
        scales[index], shifts[index] = moved.scale, moved.shift
    whole = Affine(_joined(node, sizes, scales, 1.0), _joined(node, sizes, shifts, 0.0))
    shown = push_through_steps(node.behind, whole)
    return shown if isinstance(shown, Refusal) else Moved(None, {0: shown})


def pull_through_split(node: Split, outputs: Mapping[int, Affine]) -> Moved:
    """Maps behind the parts of a split become one map in front of it; a part without one gets scale 1 and shift 0.

    Before::  x -- split -- a -- affine(s1, t1); b
    After::   x -- affine(concat(s1, 1), concat(t1, 0)) -- split -- a, b
    Law:      split(concat(s1, 1) * x + concat(t1, 0)) == s1 * a + t1, b
    Shapes:   x: (..., l, ...); a: (..., l_1, ...); s1, t1: of the rank of a, each length 1 or that of a
    Refuses:  nothing
    Source:   ONNX Split-18
    """
    scale = _whole(node, {index: affine.scale for index, affine in outputs.items()}, 1.0)
    shift = _whole(node, {index: affine.shift for index, affine in outputs.items()}, 0.0)
    return Moved(None, {node.source: Affine(scale, shift)})


def push_through_split(node: Split, affine: Affine) -> Moved:
    """A map in front of a split becomes one map for each part.

    Before::  x -- affine(s, t) -- split -- a, b
    After::   x -- split -- a -- affine(s1, t1); b -- affine(s2, t2)
    Law:      split(s * x + t) == s1 * a + t1, s2 * b + t2
    Shapes:   x: (d_1, ..., l, ..., d_r); s, t: (1 or d_1, ..., 1 or l, ..., 1 or d_r); s1, t1, s2, t2: what lies at
              the places of a and b
    Refuses:  nothing
    Source:   ONNX Split-18
    """
    return Moved(None, {index: _part(affine, node.axis, *part) for index, part in enumerate(node.parts)})


def _part(affine: Affine, axis: int, start: int, stop: int) -> Affine:
    places = (*(slice(None),) * axis, slice(start, stop))
    return Affine(*(values if values.shape[axis] == 1 else values[places] for values in (affine.scale, affine.shift)))


def _joined(node: Concatenation, sizes: list[int], given: Mapping[int, Array], neutral: float) -> Array:
    stops = list(accumulate(sizes))
    parts = dict(zip(node.inputs, zip([0, *stops], stops, strict=False), strict=True))
    return _filled(node.rank, node.axis, stops[-1], {parts[slot]: values for slot, values in given.items()}, neutral)


def _whole(node: Split, given: Mapping[int, Array], neutral: float) -> Array:
    pieces = {node.parts[index]: values for index, values in given.items()}
    return _filled(node.rank, node.axis, node.length, pieces, neutral)


def _filled(rank: int, axis: int, length: int, pieces: Mapping[tuple[int, int], Array], neutral: float) -> Array:
    shapes = [(*values.shape[:axis], 1, *values.shape[axis + 1 :]) for values in pieces.values()]
    shape = list(np.broadcast_shapes((1,) * rank, *shapes))
    shape[axis] = length
    whole = np.full(shape, neutral)
    for (start, stop), values in pieces.items():
        index: list[slice] = [slice(None)] * rank
        index[axis] = slice(start, stop)
        whole[tuple(index)] = values
    return whole
