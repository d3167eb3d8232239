"""BatchNorm, and Mul, Add, Sub, Div by a constant: read as affine maps, and absorbing one another."""

from dataclasses import replace

import numpy as np

from bnfold.affine import Affine, Array, per_channel
from bnfold.refusal import Reason, Refusal
from bnfold.rules.moves import Moved
from bnfold.semantics import AffineMap, Form

# What float64 loses of a difference of two equal numbers that were computed in different ways.
_LOST = 4 * np.finfo(np.float64).eps


def read_batch_norm_as_affine(
    gamma: Array, beta: Array, mean: Array, variance: Array, epsilon: float, *, rank: int
) -> Affine | Refusal:
    """A BatchNorm in inference is an affine map over the channels.

    Before::  y = gamma * (x - mean) / sqrt(variance + epsilon) + beta
    After::   y = scale * x + shift
    Law:      scale = gamma / sqrt(variance + epsilon), shift = beta - scale * mean, or 0 where that is rounding alone
    Shapes:   gamma, beta, mean, variance: (C,); x: (N, C, ...)
    Refuses:  NOT_FINITE: a parameter holds NaN or infinity;
              NON_POSITIVE_VARIANCE: variance + epsilon <= 0 in a channel;
              OVERFLOW: scale or shift exceeds float64
    Source:   ONNX BatchNormalization-15; Ioffe and Szegedy 2015, https://arxiv.org/abs/1502.03167
    """
    named = {"scale": gamma, "bias": beta, "mean": mean, "variance": variance, "epsilon": np.array([epsilon])}
    for name, values in named.items():
        if not np.isfinite(values).all():
            channel = int(np.flatnonzero(~np.isfinite(values))[0])
            return Refusal(Reason.NOT_FINITE, f"{name} is {values[channel]} in channel {channel}")
    spread = variance + epsilon
    if (spread <= 0).any():
        channel = int(np.argmin(spread))
        count = int((spread <= 0).sum())
        return Refusal(
            Reason.NON_POSITIVE_VARIANCE,
            f"variance + epsilon <= 0 in {count} of {spread.size} channels "
            f"(min {spread[channel]:.3g}, channel {channel})",
        )
    with np.errstate(over="ignore", invalid="ignore"):
        scale = gamma / np.sqrt(spread)
        shift = beta - scale * mean
        shift = np.where(np.abs(shift) <= _LOST * np.abs(beta), 0.0, shift)
    if not np.isfinite(scale).all() or not np.isfinite(shift).all():
        return Refusal(Reason.OVERFLOW, "scale / sqrt(variance + epsilon) exceeds the largest float64")
    return per_channel(scale, shift, rank=rank)


def absorb_output_into_affine_map(node: AffineMap, affine: Affine) -> Moved | Refusal:
    """A map behind an affine node becomes part of that node's parameters, as far as they can express it.

    Before::  x -- node(a, b) -- affine(s, t) -- y
    After::   x -- affine(s', 0) -- node(a', b') -- y
    Law:      BatchNorm: a' = s * a, b' = s * b + t, s' = 1; Mul: a' = s * a, s' = 1, for t = 0;
              Add: b' = s * b + t, s' = s, since s * (x + b) + t == s * x + (s * b + t)
    Shapes:   x: (d_1, ..., d_r); a, b, s, t and what becomes of them: (1 or d_1, ..., 1 or d_r)
    Refuses:  WRONG_AXIS: the map varies along an axis on which a BatchNorm has no parameters;
              MALFORMED: map and node do not agree on the number of channels;
              SHIFT_CANNOT_PASS: a Mul has nowhere to put a shift
    Source:   ONNX BatchNormalization-15, Mul-14, Add-14, Sub-14, Div-14
    """
    refusal = _mismatch(node, affine)
    if refusal is not None:
        return refusal
    after = node.affine.then(affine)
    if node.form is Form.SCALE_AND_SHIFT:
        return Moved(replace(node, affine=after))
    if node.form is Form.SCALE:
        if affine.has_shift:
            return Refusal(Reason.SHIFT_CANNOT_PASS, "a multiplication has no parameter that could take the shift")
        return Moved(replace(node, affine=after.scale_alone()))
    moved = replace(node, affine=Affine(node.affine.scale, after.shift))
    return Moved(moved, {node.source: affine.scale_alone()} if affine.has_scale else {})


def absorb_input_into_affine_map(node: AffineMap, affine: Affine) -> Moved | Refusal:
    """A map in front of an affine node becomes part of that node's parameters.

    What a BatchNorm knows of its input is in units of what that holds: a mean far from it would swallow its digits, and
    a variance of other values would tell wrongly how far zero lies from those that it makes.

    Before::  x -- affine(s, t) -- node(a, b) -- y
    After::   x -- node(a', b') -- y
    Law:      a * (s * x + t) + b == (a * s) * x + (a * t + b); a Mul takes it for t = 0, an Add for s = 1
    Shapes:   x: (d_1, ..., d_r); a, b, s, t and what becomes of them: (1 or d_1, ..., 1 or d_r)
    Refuses:  WRONG_AXIS: the map varies along an axis on which a BatchNorm has no parameters;
              MALFORMED: map and node do not agree on the number of channels;
              SHIFT_CANNOT_PASS: a Mul has nowhere to put a shift;
              NOT_LINEAR: an Add has nowhere to put a scale
    Source:   ONNX BatchNormalization-15, Mul-14, Add-14, Sub-14, Div-14
    """
    refusal = _mismatch(node, affine)
    if refusal is not None:
        return refusal
    after = affine.then(node.affine)
    if node.form is Form.SCALE_AND_SHIFT:
        channels = None if node.channel_axis is None else affine.along(node.channel_axis)
        known = node.statistics if node.statistics is None or channels is None else node.statistics.moved(channels)
        return Moved(replace(node, affine=after, statistics=known))
    if node.form is Form.SCALE and affine.has_shift:
        return Refusal(Reason.SHIFT_CANNOT_PASS, "a multiplication has no parameter that could take the shift")
    if node.form is Form.SHIFT and affine.has_scale:
        return Refusal(Reason.NOT_LINEAR, "an addition has no parameter that could take the scale")
    return Moved(replace(node, affine=after))


def push_scale_past_addition(node: AffineMap, affine: Affine) -> Moved | Refusal:
    """A scale in front of an Add acts behind it instead, and the Add adds so much more.

    Before::  x -- affine(s, t) -- add b -- y
    After::   x -- add (r * t + b) / s -- scale s -- y
    Law:      r * (s * x + t) + b == s * (r * x + (r * t + b) / s), where r is 1, or -1 of a Sub
    Shapes:   x: (d_1, ..., d_r); b, s, t and what becomes of them: (1 or d_1, ..., 1 or d_r)
    Refuses:  MALFORMED: map and node do not agree on the number of channels; ZERO_SCALE: s is 0;
              OVERFLOW: what is added then exceeds float64
    Source:   ONNX Add-14, Sub-14
    """
    refusal = _mismatch(node, affine)
    if refusal is not None:
        return refusal
    undone = affine.scale_alone().inverse()
    if isinstance(undone, Refusal):
        return undone
    added = affine.then(node.affine).shift * undone.scale
    if not np.isfinite(added).all():
        return Refusal(Reason.OVERFLOW, "what is added exceeds the largest float64, if the scale acts behind it")
    return Moved(replace(node, affine=Affine(node.affine.scale, added)), {0: affine.scale_alone()})


def _mismatch(node: AffineMap, affine: Affine) -> Refusal | None:
    """Why the map cannot belong to a tensor of this node at all, or not to its parameters."""
    shapes = [values.shape for values in (node.affine.scale, node.affine.shift, affine.scale, affine.shift)]
    try:
        np.broadcast_shapes(*shapes)
    except ValueError:
        return Refusal(Reason.MALFORMED, f"the map has {_channels(affine)} channels, the node {_channels(node.affine)}")
    if node.channel_axis is None or affine.along(node.channel_axis) is not None:
        return None
    axes = ", ".join(map(str, affine.varying_axes))
    return Refusal(
        Reason.WRONG_AXIS,
        f"the map varies along axis {axes}, the BatchNorm's parameters along axis {node.channel_axis}",
    )


def _channels(affine: Affine) -> int:
    return max(int(length) for length in (*affine.scale.shape, *affine.shift.shape))
