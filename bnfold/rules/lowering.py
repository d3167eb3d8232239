"""What an affine node becomes where a device has no BatchNorm: a convolution, a Mul and an Add, or an Add alone."""

from dataclasses import replace

import numpy as np

from bnfold.affine import Affine, identity
from bnfold.errors import InternalError
from bnfold.refusal import Refusal
from bnfold.rules.contraction import absorb_output_into_contraction
from bnfold.semantics import AffineMap, Contraction, Form
from bnfold.weight import Weight
from bnfold.window import Window


def lower_to_convolution(node: AffineMap) -> Contraction | Refusal:
    """A map over the channels is a depthwise convolution with a kernel of one place.

    Before::  x -- BatchNorm(s, t) -- y
    After::   x -- contract(weight, bias) -- y
    Law:      s * x + t == W x + t, where W is diagonal: one group per channel, with the scale of that channel
    Shapes:   x: (N, C, *places); s, t: (C,); weight: (C, 1, 1, *ones), one of them for each axis of places
    Refuses:  what absorb_output_into_contraction refuses
    Source:   ONNX Conv-22
    """
    affine = node.affine
    if node.channel_axis is None or affine.rank < 3:
        raise InternalError(f"a map of rank {affine.rank} was to become a convolution")
    channels = max(affine.scale.size, affine.shift.size)
    axes = affine.rank - 2
    ones, zeros = (1,) * axes, (0,) * axes
    unit = Contraction(
        Weight(np.ones((channels, 1, 1, *ones))),
        np.zeros((1, channels, *ones)),
        output_rank=affine.rank,
        output_axis=node.channel_axis,
        input_axis=node.channel_axis,
        window=Window(ones, ones, zeros, zeros, (None,) * axes),
    )
    moved = absorb_output_into_contraction(unit, affine)
    if isinstance(moved, Refusal):
        return moved
    return moved.meaning if isinstance(moved.meaning, Contraction) else unit


def lower_to_arithmetic(node: AffineMap) -> tuple[AffineMap, ...]:
    """A map is a product and a sum with constants, one behind the other.

    Before::  x -- BatchNorm(s, t) -- y
    After::   x -- Mul(s) -- Add(t) -- y; without the Mul where s is 1, without the Add where t is 0 and s is not 1
    Law:      s * x + t == (s * x) + t
    Shapes:   x: (d_1, ..., d_r); s, t: (1 or d_1, ..., 1 or d_r)
    Refuses:  nothing
    Source:   ONNX Mul-14, Add-14
    """
    scale = replace(node, affine=node.affine.scale_alone(), form=Form.SCALE, channel_axis=None, statistics=None)
    shift = replace(node, affine=node.affine.shift_alone(), form=Form.SHIFT, channel_axis=None, statistics=None)
    if not node.affine.has_shift:
        return (scale,)
    return (scale, shift) if node.affine.has_scale else (shift,)


def lower_to_addition(node: AffineMap, before: Affine, behind: Affine) -> AffineMap:
    """Where its tensors have these maps, all that is left of a map is an addition.

    Before::  x -- BatchNorm(s, t) -- y
    After::   x' -- Add(u) -- y', where x = a x' + b and y = p y' + q
    Law:      u == (s b + t - q) / p, where p == s a; 0 where p is 0, for the readers of y then ignore y'
    Shapes:   a, b, p, q, u: of the rank of x
    Refuses:  nothing
    Source:   ONNX Add-14
    """
    whole = before.then(node.affine)
    alive = behind.scale != 0
    if np.any(alive & (np.abs(whole.scale - behind.scale) > 2.0**-48 * np.abs(behind.scale))):
        raise InternalError("more than an addition is left between two maps")
    left = np.where(alive, (whole.shift - behind.shift) / np.where(alive, behind.scale, 1.0), 0.0)
    one = identity(node.affine.rank).scale
    return replace(node, affine=Affine(one, left), form=Form.SHIFT, channel_axis=None, statistics=None)
