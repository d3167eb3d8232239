"""What a contraction with a window computes, one kernel place after the other, and strategies for branches of one x."""

import itertools
from dataclasses import replace

import numpy as np
from hypothesis import strategies as st

from bnfold.semantics import Contraction, NoShift
from bnfold.weight import Weight
from bnfold.window import Window
from tests.rules.values import numbers


def slide(node, x):
    """x: (batch, channels, *space). Zeros are put around x, and every place of the kernel is multiplied and added."""
    window = node.window
    groups, outputs, inputs, *kernel = node.weight.shape
    padded = np.pad(x, [(0, 0), (0, 0), *zip(window.before, window.behind, strict=True)])
    counts = [
        (length - dilation * (size - 1) - 1) // stride + 1
        for length, dilation, size, stride in zip(
            padded.shape[2:], window.dilations, kernel, window.strides, strict=True
        )
    ]
    y = np.zeros((x.shape[0], groups * outputs, *counts))
    for place in itertools.product(*map(range, kernel)):
        slices = tuple(
            slice(u * dilation, u * dilation + stride * (count - 1) + 1, stride)
            for u, dilation, stride, count in zip(place, window.dilations, window.strides, counts, strict=True)
        )
        seen = padded[(slice(None), slice(None), *slices)]
        for group in range(groups):
            mine = seen[:, group * inputs : (group + 1) * inputs]
            y[:, group * outputs : (group + 1) * outputs] += np.einsum(
                "oi,ni...->no...", node.weight.array[(group, slice(None), slice(None), *place)], mine
            )
    return y if node.bias is None else y + node.bias


def bound(node, x):
    """What the absolute values of all terms add up to."""
    bias = None if node.bias is None else np.abs(node.bias)
    return slide(replace(node, weight=Weight(np.abs(node.weight.array)), bias=bias), np.abs(x))


def contraction(weight, bias, window):
    """A convolution with channels on axis 1."""
    rank = weight.ndim - 1
    padded = any((*window.before, *window.behind))
    if bias is not None:
        bias = bias.reshape(1, -1, *(1,) * (rank - 2))
    return Contraction(
        Weight(weight), bias, rank, 1, no_shift=NoShift("zeros are padded") if padded else None, window=window
    )


@st.composite
def inputs(draw, channels, axes):
    """An x large enough for every kernel drawn here."""
    space = [draw(st.integers(9, 12)) for _ in range(axes)]
    return numbers((draw(st.integers(1, 2)), channels, *space), draw(st.integers(0, 2**32 - 1)))


@st.composite
def weights(draw, inputs, outputs, kernel):
    """A weight with any number of groups that divides both."""
    groups = draw(st.sampled_from([g for g in range(1, inputs + 1) if inputs % g == 0 and outputs % g == 0]))
    shape = (groups, outputs // groups, inputs // groups, *kernel)
    return numbers(shape, draw(st.integers(0, 2**32 - 1)))


@st.composite
def biases(draw, outputs):
    """One number per channel, or nothing."""
    return draw(st.none() | st.integers(0, 2**32 - 1).map(lambda seed: numbers((outputs,), seed)))


@st.composite
def aligned_branches(draw, x, outputs, count):
    """Convolutions of x that make the same places, with kernels of any length that overlap in any way."""
    axes = x.ndim - 2
    strides, dilations = (tuple(draw(st.integers(1, 3)) for _ in range(axes)) for _ in range(2))
    reach = [draw(st.integers(-4, 2)) for _ in range(axes)]
    branches = []
    for _ in range(count):
        kernel, before, behind, own = [], [], [], []
        for axis in range(axes):
            # Padding in whole steps of the dilation, so that the places of all kernels are on one grid.
            dilation = dilations[axis]
            sizes = [
                (size, front)
                for size in range(1, 6)
                for front in range(0, 5 * dilation, dilation)
                if reach[axis] + dilation * (size - 1) - front >= 0
            ]
            size, front = draw(st.sampled_from(sizes))
            kernel.append(size)
            before.append(front)
            behind.append(reach[axis] + dilation * (size - 1) - front)
            own.append(dilation if size > 1 else draw(st.integers(1, 3)))
        weight = draw(weights(x.shape[1], outputs, kernel))
        window = Window(strides, tuple(own), tuple(before), tuple(behind), (None,) * axes)
        branches.append(contraction(weight, draw(biases(outputs)), window))
    return branches
