"""Conv, ConvTranspose, Gemm and MatMul: the operators with weights that absorb a map for good."""

from dataclasses import replace

import numpy as np

from bnfold.affine import Affine, Array, PerChannel
from bnfold.refusal import Reason, Refusal
from bnfold.rules.moves import Moved
from bnfold.semantics import Contraction, Recurrent


def absorb_output_into_contraction(node: Contraction, affine: Affine) -> Moved | Refusal:
    """A map behind a contraction becomes part of its weight and bias.

    Before::  x -- contract(weight, bias) -- affine -- y
    After::   x -- contract(weight', bias') -- y
    Law:      s * (W x + b) + t == (s * W) x + (s * b + t)
    Shapes:   W: (groups, outputs, inputs, *kernel); b: of the rank of y; s, t: (groups * outputs,), one number for each
              channel of y
    Refuses:  WRONG_AXIS: the map varies along another axis than that of the output channels;
              NOT_FINITE: the weight or the bias holds NaN or infinity;
              OVERFLOW: a folded parameter exceeds float64
    Source:   ONNX Conv-22, ConvTranspose-22, Gemm-13, MatMul-13
    """
    channels = _vectors(node, affine, node.output_axis, node.output_channels, "output channels")
    if isinstance(channels, Refusal):
        return channels
    bias = _moved_bias(node, channels)
    if not affine.has_scale:
        return _with_bias(node, bias)
    scale = np.broadcast_to(channels.scale, (node.output_channels,))
    groups, outputs = node.weight.shape[:2]
    weight = node.weight.times(scale.reshape(groups, outputs, *(1,) * (node.weight.ndim - 2)))
    return _finite(replace(node, weight=weight, bias=bias))


def absorb_input_into_contraction(node: Contraction, affine: Affine) -> Moved | Refusal:
    """A map in front of a contraction becomes part of its weight and bias.

    Before::  x -- affine(s, t) -- contract(weight, bias) -- y
    After::   x -- contract(weight', bias') -- y
    Law:      W (s * x + t) + b == (W * s) x + (b + W t)
    Shapes:   W: (groups, outputs, inputs, *kernel); s, t: (groups * inputs,), one number for each channel of x; W t:
              (groups * outputs,), summed over the inputs of a group and the kernel
    Refuses:  WRONG_AXIS: the map varies along another axis than that of the input channels;
              SHIFT_CANNOT_PASS: zero padding, or a transposed kernel, gives border places less of the shift;
              NOT_FINITE: the weight or the bias holds NaN or infinity;
              OVERFLOW: a folded parameter exceeds float64
    Source:   ONNX Conv-22, ConvTranspose-22, Gemm-13, MatMul-13
    """
    channels = _vectors(node, affine, node.input_axis, node.input_channels, "input channels")
    if isinstance(channels, Refusal):
        return channels
    stays = why_shift_stays(node, affine)
    if stays is not None:
        return stays
    bias = node.bias
    if affine.has_shift:
        on_output = _behind(node, channels)
        bias = on_output if bias is None else bias + on_output
    if not affine.has_scale:
        return _with_bias(node, bias)
    return _finite(replace(node, weight=node.weight.times(_per_input(node, channels.scale)), bias=bias))


def why_shift_stays(node: Contraction, affine: Affine) -> Refusal | None:
    """Why a contraction takes no shift in front of it; None where it does, or where there is none."""
    if not affine.has_shift or node.no_shift is None:
        return None
    channels = affine.along(node.input_axis)
    shift = affine.shift.reshape(-1) if channels is None else channels.shift
    largest = int(np.argmax(np.abs(shift)))
    return Refusal(
        Reason.SHIFT_CANNOT_PASS,
        f"{node.no_shift.why}; max |shift| {abs(shift[largest]):.3g}, channel {largest}",
    )


def push_shift_through_contraction(node: Contraction, affine: Affine) -> Moved | Refusal:
    """A shift in front of a contraction acts behind it instead, where the node has no room for a bias.

    Before::  x -- shift t -- contract(weight) -- y
    After::   x -- contract(weight) -- shift W t -- y
    Law:      W (x + t) == W x + W t
    Shapes:   W: (groups, outputs, inputs, *kernel); t: (groups * inputs,); W t: (groups * outputs,)
    Refuses:  NOT_LINEAR: there is a scale, which the weight takes;
              what absorb_input_into_contraction refuses
    Source:   ONNX MatMul-13, Einsum-12
    """
    if affine.has_scale:
        return Refusal(Reason.NOT_LINEAR, "a scale in front of a product goes into its weight, not behind it")
    channels = _vectors(node, affine, node.input_axis, node.input_channels, "input channels")
    if isinstance(channels, Refusal):
        return channels
    stays = why_shift_stays(node, affine)
    if stays is not None:
        return stays
    gained = _behind(node, channels)
    return (
        Moved(None, {0: Affine(np.ones((1,) * node.output_rank), gained)}) if np.isfinite(gained).all() else _OVERFLOW
    )


def _per_input(node: Contraction, values: Array) -> Array:
    """Numbers for the input channels, where they stand in the weight."""
    groups, _, inputs, *kernel = node.weight.shape
    return np.broadcast_to(values, (groups * inputs,)).reshape(groups, 1, inputs, *(1,) * len(kernel))


def _behind(node: Contraction, channels: PerChannel) -> Array:
    """What a shift of the input makes of the output, of the rank of the output."""
    gained = node.weight.applied_to(_per_input(node, channels.shift))
    return PerChannel(np.ones(1), gained).on_axis(node.output_rank, node.output_axis).shift


def absorb_input_into_recurrent(node: Recurrent, affine: Affine) -> Moved | Refusal:
    """A map in front of an LSTM, GRU or RNN becomes part of its input weights and biases, per direction and gate.

    Before::  x -- affine(s, t) -- recurrent(W, B) -- y
    After::   x -- recurrent(W * s, B + W t) -- y
    Law:      W (s * x + t) + b == (W * s) x + (b + W t), in every gate of every direction
    Shapes:   W: (directions, gates * hidden, inputs); B: (directions, gates * hidden); s, t: (inputs,)
    Refuses:  WRONG_AXIS: the map varies along the sequence or the batch;
              NOT_FINITE: the weight or the bias holds NaN or infinity;
              OVERFLOW: a folded parameter exceeds float64
    Source:   ONNX LSTM-22, GRU-22, RNN-22
    """
    channels = _vectors(node, affine, node.input_axis, node.weight.shape[2], "inputs")
    if isinstance(channels, Refusal):
        return channels
    bias = node.bias
    if affine.has_shift:
        gained = (node.weight * channels.shift).sum(axis=2)
        bias = gained if bias is None else bias + gained
    if not affine.has_scale:
        return _with_bias(node, bias)
    return _finite(replace(node, weight=node.weight * channels.scale, bias=bias))


def _vectors(node: Contraction | Recurrent, affine: Affine, axis: int, length: int, what: str) -> PerChannel | Refusal:
    """The map as vectors over one axis of a node that is fit to absorb it."""
    channels = affine.along(axis)
    if channels is None:
        axes = ", ".join(map(str, affine.varying_axes))
        return Refusal(Reason.WRONG_AXIS, f"the map varies along axis {axes}, the {what} are on axis {axis}")
    if not channels.fits(length):
        entries = max(channels.scale.size, channels.shift.size)
        return Refusal(Reason.MALFORMED, f"the map has {entries} channels, the operator has {length} {what}")
    if not _all_finite(node):
        return Refusal(Reason.NOT_FINITE, "the weight or the bias holds NaN or infinity before anything is folded")
    return channels


def _moved_bias(node: Contraction, channels: PerChannel) -> Array | None:
    on_output = channels.on_axis(node.output_rank, node.output_axis)
    if node.bias is not None:
        return node.bias * on_output.scale + on_output.shift
    return on_output.shift if on_output.has_shift else None


def _with_bias(node: Contraction | Recurrent, bias: Array | None) -> Moved | Refusal:
    """A node that keeps its weight, which is known to be finite."""
    if bias is None or np.isfinite(bias).all():
        return Moved(replace(node, bias=bias))
    return _OVERFLOW


def _finite(moved: Contraction | Recurrent) -> Moved | Refusal:
    return Moved(moved) if _all_finite(moved) else _OVERFLOW


_OVERFLOW = Refusal(Reason.OVERFLOW, "a folded parameter exceeds the largest float64")


def _all_finite(node: Contraction | Recurrent) -> bool:
    return bool(np.isfinite(node.largest_factor)) and (node.bias is None or bool(np.isfinite(node.bias).all()))
