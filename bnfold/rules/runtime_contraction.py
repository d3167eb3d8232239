"""A convolution or product with a weight of the run time: its bias takes a shift, and the weight may take a scale."""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from bnfold.affine import Affine
from bnfold.refusal import Reason, Refusal
from bnfold.rules.moves import Moved
from bnfold.semantics import RuntimeContraction


def pull_through_runtime_contraction(node: RuntimeContraction, affine: Affine) -> Moved | Refusal:
    """A scale behind such an operator goes to what makes its weight, a shift into its bias.

    Before::  w, x -- w x + b -- affine(s, t) -- y
    After::   w -- scale s; w, x -- w x + (s * b + t) -- y
    Law:      s * (w x + b) + t == (s * w) x + (s * b + t)
    Shapes:   y: (N, M, *places), or with M on another axis; w: M on one axis; b, s, t: (M,)
    Refuses:  DYNAMIC_WEIGHT: there is a scale, and w comes from outside;
              WRONG_AXIS: the map varies along another axis than that of the channels, or not by as many as w has;
              UNKNOWN_SHAPE: how many there are is not known before run time; NOT_FINITE: b holds NaN or infinity;
              OVERFLOW: the bias exceeds float64
    Source:   ONNX Conv-22, ConvTranspose-22, Gemm-13
    """
    if affine.has_scale and node.weight is None:
        return Refusal(Reason.DYNAMIC_WEIGHT, node.why)
    vectors = affine.along(node.axis)
    if vectors is None:
        wrong = [axis for axis in affine.varying_axes if axis != node.axis]
        return Refusal(Reason.WRONG_AXIS, f"the map varies along axis {wrong[0]}, the channels are on axis {node.axis}")
    if node.channels is not None and not vectors.fits(node.channels):
        found = max(vectors.scale.size, vectors.shift.size)
        return Refusal(Reason.WRONG_AXIS, f"the map has {found} channels, the weight makes {node.channels}")
    behind = None
    if affine.has_shift or node.bias is not None:
        if node.channels is None:
            return Refusal(Reason.UNKNOWN_SHAPE, "how many channels the weight makes is not known before run time")
        if node.bias is not None and not np.isfinite(node.bias).all():
            return Refusal(Reason.NOT_FINITE, "the bias holds NaN or infinity before anything is folded")
        bias = vectors.scale * (0.0 if node.bias is None else node.bias) + vectors.shift
        if not np.isfinite(bias).all():
            return Refusal(Reason.OVERFLOW, "the bias exceeds the largest float64")
        behind = replace(node, bias=np.broadcast_to(bias, (node.channels,)).copy())
    if not affine.has_scale or node.weight is None:
        return Moved(behind)
    along = [1] * node.weight_rank
    along[node.weight_axis] = -1
    return Moved(behind, {node.weight: Affine(vectors.scale.reshape(along), np.zeros((1,) * node.weight_rank))})


def push_through_runtime_contraction(node: RuntimeContraction, _inputs: Mapping[int, Affine]) -> Refusal:
    """What is in front of it meets numbers that are not known.

    Before::  x -- map -- w x + b -- y
    After::   no other
    Law:      w (s * x + t) is w' x + w t only where w can be changed
    Shapes:   any
    Refuses:  DYNAMIC_WEIGHT: always
    Source:   ONNX Conv-22, ConvTranspose-22, Gemm-13
    """
    return Refusal(Reason.DYNAMIC_WEIGHT, node.why)
