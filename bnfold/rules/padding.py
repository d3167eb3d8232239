"""Padding with a number: it takes maps that make one number of it, and lets them through."""

from dataclasses import replace

import numpy as np

from bnfold.affine import Affine, Array
from bnfold.refusal import Reason, Refusal
from bnfold.rules.moves import Moved
from bnfold.semantics import Padding


def pull_through_padding(node: Padding, affine: Affine) -> Moved | Refusal:
    """A map behind a padding acts in front of it, and on the number that is padded.

    Before::  x -- pad with c -- affine(s, t) -- y
    After::   x -- affine(s, t) -- pad with s * c + t -- y
    Law:      s * pad(x, c) + t == pad(s * x + t, s * c + t)
    Shapes:   s, t: of the rank of y; s * c + t: one number
    Refuses:  WRONG_AXIS: the map varies along a padded axis, or s * c + t along any;
              OVERFLOW: s * c + t exceeds float64
    Source:   ONNX Pad-25
    """
    return _moved(node, affine, affine.scale * node.value + affine.shift, to=node.source)


def push_through_padding(node: Padding, affine: Affine) -> Moved | Refusal:
    """A map in front of a padding acts behind it, and is undone on the number that is padded.

    Before::  x -- affine(s, t) -- pad with c -- y
    After::   x -- pad with (c - t) / s -- affine(s, t) -- y
    Law:      pad(s * x + t, c) == s * pad(x, (c - t) / s) + t, for s != 0
    Shapes:   s, t: of the rank of x; (c - t) / s: one number
    Refuses:  NOT_FINITE: a scale is 0;
              WRONG_AXIS, OVERFLOW: as in the other direction, of (c - t) / s
    Source:   ONNX Pad-25
    """
    if np.any(affine.scale == 0):
        return Refusal(Reason.NOT_FINITE, "a scale is 0, and the number that is padded would have to be divided by it")
    return _moved(node, affine, (node.value - affine.shift) / affine.scale, to=0)


def _moved(node: Padding, affine: Affine, padded: Array, to: int) -> Moved | Refusal:
    along = [axis for axis in affine.varying_axes if axis in node.axes]
    if along:
        return Refusal(Reason.WRONG_AXIS, f"the map varies along axis {along[0]}, along which a number is padded")
    if np.any(padded != padded.reshape(-1)[0]):
        return Refusal(
            Reason.WRONG_AXIS, f"the map would make {np.unique(padded).size} numbers of the one that is padded"
        )
    value = float(padded.reshape(-1)[0])
    if np.isfinite(node.value) and not np.isfinite(value):
        return Refusal(Reason.OVERFLOW, "the number that is padded exceeds the largest float64")
    meaning = None if value == node.value else replace(node, value=value)
    return Moved(meaning, {to: affine.constant_along(node.axes)})
