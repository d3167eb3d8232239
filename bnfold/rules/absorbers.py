"""Operators that end in parameters of their own: normalisations and tables. A map goes in, none ever passes."""

from dataclasses import replace

import numpy as np

from bnfold.affine import Affine
from bnfold.refusal import Reason, Refusal
from bnfold.rules.moves import Moved
from bnfold.semantics import Embedding, Normalisation


def absorb_output_into_normalisation(node: Normalisation, affine: Affine) -> Moved | Refusal:
    """A map behind a norm, or behind a product of integers, becomes part of the operator's own scale and bias.

    Before::  x -- n -- scale a, bias b -- affine(s, t) -- y
    After::   x -- n -- scale s * a, bias s * b + t -- y
    Law:      s * (a * n(x) + b) + t == (s * a) * n(x) + (s * b + t)
    Shapes:   y: (d_1, ..., d_r); s, t, a, b: (1 or d_1, ..., 1 or d_r), s and t of length 1 where a and b have it
    Refuses:  WRONG_AXIS: the map varies along an axis on which the operator has no parameters
    Source:   ONNX InstanceNormalization-22, GroupNormalization-21, LayerNormalization-17, com.microsoft
              DynamicQuantizeMatMul-1, MatMulIntegerToFloat-1, MatMulNBits-1, MatMulBnb4-1
    """
    wrong = [axis for axis in affine.varying_axes if axis not in node.axes]
    if wrong:
        return Refusal(
            Reason.WRONG_AXIS,
            f"the map varies along axis {wrong[0]}, the operator's parameters along {list(node.axes)}",
        )
    collapsed = affine.constant_along([axis for axis in range(affine.rank) if axis not in node.axes])
    return Moved(replace(node, affine=node.affine.then(collapsed)))


def absorb_output_into_embedding(node: Embedding, affine: Affine) -> Moved | Refusal:
    """A map behind a lookup becomes part of every row of the table.

    Before::  i -- table[i] -- affine(s, t) -- y
    After::   i -- (s * table + t)[i] -- y
    Law:      s * table[i] + t == (s * table + t)[i]
    Shapes:   table: (*before, rows, *behind); y: (*before, *shape of i, *behind); s, t: of the rank of y, of length 1
              on the axes of the index
    Refuses:  WRONG_AXIS: the map varies along an axis of the index;
              NOT_FINITE: the table holds NaN or infinity
    Source:   ONNX Gather-13
    """
    index_axes = range(node.axis, node.axis + node.index_rank)
    wrong = [axis for axis in affine.varying_axes if axis in index_axes]
    if wrong:
        return Refusal(Reason.WRONG_AXIS, f"the map varies along axis {wrong[0]}, which is an axis of the index")
    if not np.isfinite(node.values).all():
        return Refusal(Reason.NOT_FINITE, "the table holds NaN or infinity before anything is folded")
    collapsed = affine.constant_along(list(index_axes))
    scale, shift = (
        values.reshape(*values.shape[: node.axis], 1, *values.shape[node.axis + node.index_rank :])
        for values in (collapsed.scale, collapsed.shift)
    )
    return Moved(replace(node, values=node.values * scale + shift))
