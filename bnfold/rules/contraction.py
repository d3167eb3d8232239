"""Conv, ConvTranspose, Gemm and MatMul: the operators with weights that absorb a map for good."""

from dataclasses import replace

import numpy as np

from bnfold.affine import Affine, Array, PerChannel, varying_axes
from bnfold.refusal import Reason, Refusal
from bnfold.rules.moves import Moved
from bnfold.semantics import Contraction


def absorb_output_into_contraction(node: Contraction, affine: Affine) -> Moved | Refusal:
    """A map behind a contraction becomes part of its weight and bias.

    Before::  x -- contract(weight, bias) -- affine -- y
    After::   x -- contract(weight', bias') -- y
    Law:      s * (W x + b) + t == (s * W) x + (s * b + t)
    Shapes:   s, t: one per output channel; weight: (groups, outputs, inputs, *kernel)
    Refuses:  WRONG_AXIS: the map varies along another axis than that of the output channels;
              NOT_FINITE: the weight or the bias holds NaN or infinity
    Source:   ONNX Conv-22, ConvTranspose-22, Gemm-13, MatMul-13
    """
    channels = _output_vectors(node, affine)
    if isinstance(channels, Refusal):
        return channels
    if not _all_finite(node):
        return Refusal(Reason.NOT_FINITE, "the weight or the bias holds NaN or infinity before anything is folded")
    scale = np.broadcast_to(channels.scale, (node.output_channels,))
    groups, outputs = node.weight.shape[:2]
    weight = node.weight * scale.reshape(groups, outputs, *(1,) * (node.weight.ndim - 2))
    return Moved(replace(node, weight=weight, bias=_moved_bias(node, channels)))


def _output_vectors(node: Contraction, affine: Affine) -> PerChannel | Refusal:
    channels = affine.along(node.output_axis)
    if channels is None:
        axes = ", ".join(map(str, varying_axes(affine)))
        return Refusal(
            Reason.WRONG_AXIS, f"the map varies along axis {axes}, the output channels are on axis {node.output_axis}"
        )
    if not channels.fits(node.output_channels):
        entries = max(channels.scale.size, channels.shift.size)
        return Refusal(Reason.MALFORMED, f"the map has {entries} channels, the operator makes {node.output_channels}")
    return channels


def _moved_bias(node: Contraction, channels: PerChannel) -> Array | None:
    on_output = channels.on_axis(node.output_rank, node.output_axis)
    if node.bias is not None:
        return node.bias * on_output.scale + on_output.shift
    return on_output.shift if on_output.has_shift else None


def _all_finite(node: Contraction) -> bool:
    return bool(np.isfinite(node.weight).all()) and (node.bias is None or bool(np.isfinite(node.bias).all()))
