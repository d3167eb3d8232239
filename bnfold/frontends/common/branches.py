"""Contractions that merging branches makes, as far as ONNX and PyTorch write them alike."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from bnfold.affine import Affine
from bnfold.frontends.common.convolutions import ZEROS_PADDED
from bnfold.refusal import Reason, Refusal
from bnfold.semantics import Contraction
from bnfold.weight import Weight
from bnfold.window import Window


def average(
    channels: int, kernel: Sequence[int], rank: int, axis: int, window: Window, *, counts_padding: bool
) -> Contraction | None:
    """An average pooling as a convolution of each channel by itself.

    Args:
        channels: how many there are, on this axis.
        kernel: its length along each axis of places.
        rank: of the tensor.
        axis: of the channels.
        window: where the kernel lies.
        counts_padding: whether zeros beside the tensor count.

    Returns:
        The convolution; None where places at the borders weigh more than others.
    """
    pads = any((*window.before, *window.behind))
    if pads and not counts_padding:
        return None
    weight = Weight(np.full((channels, 1, 1, *kernel), 1.0 / np.prod(kernel)))
    return Contraction(weight, None, rank, axis, axis, no_shift=ZEROS_PADDED if pads else None, window=window)


def with_bias_of_channels(merged: Contraction) -> Contraction | Refusal:
    """The same with one number for each output channel as its bias; WRONG_AXIS where it varies along another axis."""
    if merged.bias is None:
        return merged
    channels = Affine(np.ones((1,) * merged.output_rank), merged.bias).along(merged.output_axis)
    if channels is None:
        return Refusal(Reason.WRONG_AXIS, "the biases of the branches vary along another axis than the channels")
    return replace(merged, bias=channels.on_axis(merged.output_rank, merged.output_axis).shift)
