"""Operators side by side, or one behind the other, that are linear in one tensor: one operator computes them.

Source of the idea: Ding et al. 2021, RepVGG, https://arxiv.org/abs/2101.03697; Ding et al. 2021, Diverse Branch Block,
https://arxiv.org/abs/2103.13425.
"""

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, replace
from functools import reduce
from math import gcd, prod

import numpy as np

from bnfold.affine import Affine, Array
from bnfold.refusal import Reason, Refusal
from bnfold.rules.contraction import absorb_input_into_contraction, absorb_output_into_contraction
from bnfold.semantics import Contraction
from bnfold.weight import Weight
from bnfold.window import Window, one_place

_NOT_KNOWN = "the strides or the padding of a branch are not known before run time, or its kernel does not slide"


@dataclass(frozen=True)
class Frame:
    """The shape of the operator that computes all branches.

    Attributes:
        groups: of channels.
        starts: where the kernel begins along each axis, counted from place 0 of the input.
        kernel: its length along each axis.
        window: strides, dilations and padding.
    """

    groups: int
    starts: tuple[int, ...]
    kernel: tuple[int, ...]
    window: Window

    def weights(self, like: Contraction) -> int:
        """How many numbers its weight holds, which is also how many multiply-adds one place of its output takes."""
        return like.output_channels * like.input_channels // self.groups * prod(self.kernel)


def multiply_adds(node: Contraction) -> int:
    """How many multiply-adds one place of the output takes, over all channels."""
    return int(node.weight.size)


def read_map_as_contraction(affine: Affine, like: Contraction) -> Contraction | Refusal:
    """A map from a tensor to one of its own shape is a contraction with a kernel of one place.

    Before::  x -- affine(s, t) -- y; s = 1 and t = 0 for a branch that is x itself
    After::   x -- contract(weight, bias) -- y
    Law:      s * x + t == W x + t, where W is diagonal: one group per channel, with the scale of that channel
    Shapes:   s, t: one per channel; weight: (channels, 1, 1, 1, ...)
    Refuses:  BRANCHES_DIFFER: the operator beside it changes the number or the axis of the channels, or its kernel is
              unknown;
              WRONG_AXIS: the map varies along another axis than that of the channels;
              what absorb_output_into_contraction refuses
    Source:   Ding et al. 2021, RepVGG, https://arxiv.org/abs/2101.03697, section 3.3
    """
    if like.input_channels != like.output_channels:
        return Refusal(
            Reason.BRANCHES_DIFFER,
            f"a branch keeps the channels, another makes {like.output_channels} of {like.input_channels}",
        )
    if like.input_axis != like.output_axis or affine.rank != like.output_rank:
        return Refusal(Reason.BRANCHES_DIFFER, "a branch keeps the axis of the channels, another moves it")
    if like.window is None:
        return Refusal(Reason.UNKNOWN_SHAPE, _NOT_KNOWN)
    weight = Weight(np.ones((like.input_channels, 1, 1, *(1,) * (like.weight.ndim - 3))))
    diagonal = replace(like, weight=weight, bias=None, no_shift=None, window=one_place(like.window))
    moved = absorb_output_into_contraction(diagonal, affine)
    if isinstance(moved, Refusal):
        return moved
    return moved.meaning if isinstance(moved.meaning, Contraction) else diagonal


def chain_contractions(first: Contraction, second: Contraction) -> Contraction | Refusal:
    """Two contractions one behind the other, one of which has a kernel of one place, are one.

    Before::  x -- contract(V, a) -- contract(W, b) -- y
    After::   x -- contract(W V, W a + b) -- y
    Law:      W (V x + a) + b == (W V) x + (W a + b)
    Shapes:   along each axis, V or W has length 1; W V: (groups, outputs of W, inputs of V, *kernel of both)
    Refuses:  BRANCHES_DIFFER: both kernels have several places along an axis, or the second pads or the first skips
              places in front of a kernel;
              UNKNOWN_SHAPE: where one of the kernels lies is not known before run time;
              what absorb_input_into_contraction refuses of the shift a
    Source:   Ding et al. 2021, Diverse Branch Block, https://arxiv.org/abs/2103.13425, transforms III and IV
    """
    if (first.output_axis, first.output_rank, first.weight.ndim) != (
        second.input_axis,
        second.output_rank,
        second.weight.ndim,
    ) or first.output_channels != second.input_channels:
        return Refusal(Reason.BRANCHES_DIFFER, "an operator reads another axis than the one before it writes")
    window = _chained_window(first, second)
    if isinstance(window, Refusal):
        return window
    bias = second.bias
    if first.bias is not None:
        moved = absorb_input_into_contraction(second, Affine(np.ones((1,) * first.output_rank), first.bias))
        if isinstance(moved, Refusal):
            return moved
        if isinstance(moved.meaning, Contraction):
            bias = moved.meaning.bias
    return Contraction(
        Weight(_product(first.weight.array, second.weight.array)),
        bias,
        second.output_rank,
        second.output_axis,
        first.input_axis,
        second.holds_bias,
        first.no_shift or second.no_shift,
        first.source,
        window,
    )


def chained_size(first: Contraction, second: Contraction) -> int:
    """How many numbers the weight of `chain_contractions` has, by shapes alone."""
    kernels = zip(first.weight.shape[3:], second.weight.shape[3:], strict=True)
    inputs = first.input_channels // gcd(int(first.weight.shape[0]), int(second.weight.shape[0]))
    return second.output_channels * inputs * prod(one * other for one, other in kernels)


def merge_branches(branches: Sequence[Contraction]) -> Contraction | Refusal:
    """Contractions of one tensor that are added up are one contraction.

    Before::  x -- contract(W1, b1) -- y1; x -- contract(W2, b2) -- y2; y1 + y2 -- y
    After::   x -- contract(W1 + W2, b1 + b2) -- y
    Law:      (W1 x + b1) + (W2 x + b2) == (W1 + W2) x + (b1 + b2), each kernel at the places that it reads
    Shapes:   W1 + W2: (groups, outputs, inputs, *kernel) with the greatest common divisor of the groups and a kernel
              over the places of all
    Refuses:  BRANCHES_DIFFER: in channels, stride, dilation, or in the places that they make;
              UNKNOWN_SHAPE: where one of the kernels lies is not known before run time;
              NOT_FINITE: a weight or a bias holds NaN or infinity
    Source:   Ding et al. 2021, RepVGG, https://arxiv.org/abs/2101.03697, section 3.3; ONNX Conv-22, Gemm-13, MatMul-13
    """
    frame = frame_of(branches)
    if isinstance(frame, Refusal):
        return frame
    first = branches[0]
    weight: Array = np.zeros(
        (
            frame.groups,
            first.output_channels // frame.groups,
            first.input_channels // frame.groups,
            *frame.kernel,
        )
    )
    bias: Array | None = None
    for branch in branches:
        weight[_places(branch, frame)] += _widened(branch.weight.array, frame.groups)
        if branch.bias is not None:
            bias = branch.bias if bias is None else bias + branch.bias
    if not np.isfinite(weight).all() or (bias is not None and not np.isfinite(bias).all()):
        return Refusal(Reason.NOT_FINITE, "the weight or the bias of a branch holds NaN or infinity")
    return replace(
        first,
        weight=Weight(weight),
        bias=bias,
        holds_bias=all(branch.holds_bias for branch in branches),
        no_shift=next((branch.no_shift for branch in branches if branch.no_shift), None),
        window=frame.window,
    )


def outline_of(branch: Contraction) -> Hashable:
    """All that `frame_of` asks of a branch: of branches with the same outline, one stands for all."""
    return branch.weight.shape, branch.window, branch.output_rank, branch.input_axis, branch.output_axis


def frame_of(branches: Sequence[Contraction]) -> Frame | Refusal:
    """The shape of the operator that computes all branches, or how they differ; see `merge_branches`."""
    first = branches[0]
    windows = [branch.window for branch in branches if branch.window is not None]
    if len(windows) < len(branches):
        return Refusal(Reason.UNKNOWN_SHAPE, _NOT_KNOWN)
    for name, of in _MUST_AGREE.items():
        other = next((branch for branch in branches if of(branch) != of(first)), None)
        if other is not None:
            return _differ(name, of(first), of(other))
    starts, kernel, dilations, behind = [], [], [], []
    for axis in range(first.weight.ndim - 3):
        lengths = [int(branch.weight.shape[axis + 3]) for branch in branches]
        found = _frame_along(axis, windows, lengths)
        if isinstance(found, Refusal):
            return found
        starts.append(found.start)
        kernel.append(len(found))
        dilations.append(found.step)
        behind.append(windows[0].reach(axis, lengths[0]) + found.start + found.step * (len(found) - 1))
    window = Window(
        windows[0].strides, tuple(dilations), tuple(-start for start in starts), tuple(behind), windows[0].lengths
    )
    groups = reduce(gcd, (int(branch.weight.shape[0]) for branch in branches))
    return Frame(groups, tuple(starts), tuple(kernel), window)


def _frame_along(axis: int, windows: Sequence[Window], lengths: Sequence[int]) -> range | Refusal:
    """The places that the kernels read between them along one axis."""
    several = [window.dilations[axis] for window, length in zip(windows, lengths, strict=True) if length > 1]
    other = next((dilation for dilation in several if dilation != several[0]), None)
    if other is not None:
        return _differ("dilation", several[0], other)
    step = several[0] if several else 1
    first = windows[0]
    for window, length in zip(windows, lengths, strict=True):
        if window.reach(axis, length) == first.reach(axis, lengths[0]):
            continue
        made, ours = window.output_length(axis, length), first.output_length(axis, lengths[0])
        if made is None or made != ours:
            return _differ(
                f"what padding leaves of the kernel on axis {axis}",
                first.reach(axis, lengths[0]),
                window.reach(axis, length),
            )
    offsets = [window.offsets(axis, length) for window, length in zip(windows, lengths, strict=True)]
    start, last = min(places[0] for places in offsets), max(places[-1] for places in offsets)
    apart = next((places for places in offsets if (places[0] - start) % step), None)
    if apart is not None:
        return _differ(f"the places that a dilated kernel reads on axis {axis}", start, apart[0])
    return range(start, last + step, step)


_MUST_AGREE: dict[str, Callable[[Contraction], object]] = {
    "the rank of what they make": lambda branch: branch.output_rank,
    "the number of axes of the kernel": lambda branch: branch.weight.ndim - 3,
    "the axis of the channels": lambda branch: (branch.input_axis, branch.output_axis),
    "output channels": lambda branch: branch.output_channels,
    "input channels": lambda branch: branch.input_channels,
    "stride": lambda branch: _said(branch.window.strides) if branch.window is not None else None,
}


def _differ(what: str, one: object, other: object) -> Refusal:
    return Refusal(Reason.BRANCHES_DIFFER, f"branches differ in {what}: {one} and {other}")


def _said(numbers: Sequence[int]) -> object:
    """One number where all are the same."""
    return numbers[0] if len(set(numbers)) == 1 else tuple(numbers)


def _places(branch: Contraction, frame: Frame) -> tuple[slice, ...]:
    """Where the weight of a branch lies in that of all."""
    window = branch.window or Window()
    places = [slice(None)] * 3
    for axis, start in enumerate(frame.starts):
        length, step = branch.weight.shape[axis + 3], frame.window.dilations[axis]
        first = (-window.before[axis] - start) // step
        places.append(slice(first, first + length))
    return tuple(places)


def _widened(weight: Array, groups: int) -> Array:
    """The same weight for fewer groups, with zeros between channels that were in different ones."""
    old, outputs, inputs, *kernel = weight.shape
    joined = old // groups
    if joined == 1:
        return weight
    wide = np.zeros((groups, joined, outputs, joined, inputs, *kernel))
    parts = weight.reshape(groups, joined, outputs, inputs, *kernel)
    for place in range(joined):
        wide[:, place, :, place] = parts[:, place]
    widened: Array = wide.reshape(groups, joined * outputs, joined * inputs, *kernel)
    return widened


def _product(first: Array, second: Array) -> Array:
    """The weight of two contractions one behind the other, along each axis of which one has length 1."""
    if second.shape[1] == second.shape[2] == 1:  # as many groups as channels: no need to widen
        groups, outputs = first.shape[:2]
        return first * second.reshape(groups, outputs, 1, *second.shape[3:])
    if first.shape[1] == first.shape[2] == 1:
        groups, _, inputs = second.shape[:3]
        return second * first.reshape(groups, 1, inputs, *first.shape[3:])
    groups = gcd(first.shape[0], second.shape[0])
    kernel = tuple(range(3, first.ndim))
    one, other = (_widened(weight, groups).transpose(*kernel, 0, 1, 2) for weight in (first, second))
    product: Array = other @ one
    spatial = len(kernel)
    kernel_last: Array = product.transpose(spatial, spatial + 1, spatial + 2, *range(spatial))
    return kernel_last


def _chained_window(first: Contraction, second: Contraction) -> Window | Refusal:
    """Where the kernel of both lies, seen from the input of the first."""
    if first.window is None or second.window is None:
        return Refusal(Reason.UNKNOWN_SHAPE, _NOT_KNOWN)
    before, behind, strides, dilations = [], [], [], []
    for axis in range(first.weight.ndim - 3):
        one, other = first.weight.shape[axis + 3], second.weight.shape[axis + 3]
        stride, pads = first.window.strides[axis], (second.window.before[axis], second.window.behind[axis])
        if other == 1 and pads == (0, 0):
            dilations.append(first.window.dilations[axis])
        elif one == 1 and stride == 1:
            dilations.append(second.window.dilations[axis])
        else:
            return Refusal(
                Reason.BRANCHES_DIFFER,
                f"kernels of {one} and {other} places with padding {pads} in between are not one kernel",
            )
        before.append(first.window.before[axis] + pads[0])
        behind.append(first.window.behind[axis] + pads[1])
        strides.append(stride * second.window.strides[axis])
    return Window(tuple(strides), tuple(dilations), tuple(before), tuple(behind), first.window.lengths)
