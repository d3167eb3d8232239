"""Convolutions and matrix products in float64, on BLAS.

Source: ONNX Conv-1 to -22, ConvTranspose-1 to -22, Gemm-1 to -13, MatMul-1 to -13.
"""

from collections.abc import Sequence
from math import prod
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import as_strided

from bnfold.verifier.local.float64.operator import Array, Call, computes

_MOST_PATCHES = 2**23
"""Numbers that are copied at a time for one matrix product: 64 MB."""
_MOST_IN_CACHE = 2**15
"""Numbers of a result that are added up at a time: 256 KB."""


def product(rows: Array, matrix: Array) -> Array:
    """(M, K) times (K, N). Rows of zeros are zeros, and a row with one number in it picks one row of the matrix."""
    alive = np.count_nonzero(rows, axis=1)
    if alive.max(initial=0) <= 1:
        chosen = np.argmax(rows != 0, axis=1)
        return np.asarray(matrix[chosen] * rows[np.arange(len(rows)), chosen][:, None])
    if not alive.all():
        made = np.zeros((len(rows), matrix.shape[1]))
        made[alive > 0] = rows[alive > 0] @ matrix
        return made
    return np.asarray(rows @ matrix)


def matmul(a: Array, b: Array) -> Array:
    """As numpy's; of a matrix as `product`."""
    if b.ndim == 2 and a.ndim > 1:
        return product(a.reshape(-1, a.shape[-1]), b).reshape(*a.shape[:-1], b.shape[-1])
    return np.asarray(a @ b)


@computes("MatMul")
def _matmul(_call: Call, a: Array, b: Array) -> Array:
    return matmul(a, b)


@computes("Gemm")
def _gemm(call: Call, a: Array, b: Array, c: Array | None = None) -> Array:
    made = call.get("alpha", 1.0) * product(a.T if call.get("transA") else a, b.T if call.get("transB") else b)
    return np.asarray(made if c is None else made + call.get("beta", 1.0) * c)


def padding(
    call: Call, places: Sequence[int], kernel: Sequence[int], strides: Sequence[int], dilations: Sequence[int]
) -> list[tuple[int, int]]:
    """What is added before and behind each axis of places, for convolutions and pooling alike."""
    automatic = call.text("auto_pad", "NOTSET")
    if automatic == "VALID":
        return [(0, 0)] * len(kernel)
    if automatic == "NOTSET":
        pads = call.integers("pads", [0] * 2 * len(kernel))
        return list(zip(pads[: len(kernel)], pads[len(kernel) :], strict=True))
    both = []
    for size, length, stride, dilation in zip(places, kernel, strides, dilations, strict=True):
        total = max(0, (-(-size // stride) - 1) * stride + dilation * (length - 1) + 1 - size)
        small, large = total // 2, total - total // 2
        both.append((small, large) if automatic == "SAME_UPPER" else (large, small))
    return both


def windows(x: Array, kernel: Sequence[int], strides: Sequence[int], dilations: Sequence[int]) -> Array:
    """What outputs see of a padded tensor: (batch, channels, *outputs, *kernel), a view."""
    outputs = [
        (size - dilation * (length - 1) - 1) // stride + 1
        for size, length, stride, dilation in zip(x.shape[2:], kernel, strides, dilations, strict=True)
    ]
    steps = [step * stride for step, stride in zip(x.strides[2:], strides, strict=True)]
    taps = [step * dilation for step, dilation in zip(x.strides[2:], dilations, strict=True)]
    shape = (*x.shape[:2], *(max(0, count) for count in outputs), *kernel)
    return as_strided(x, shape, (*x.strides[:2], *steps, *taps), writeable=False)


@computes("Conv")
def _conv(call: Call, x: Array, w: Array, bias: Array | None = None) -> Array:
    axes = w.ndim - 2
    strides, dilations = call.integers("strides", [1] * axes), call.integers("dilations", [1] * axes)
    pads = padding(call, x.shape[2:], w.shape[2:], strides, dilations)
    if _has_single_numbers(x, call.get("group", 1)):
        made = _of_single_numbers(x, w, call.get("group", 1), strides, dilations, pads)
        return made if bias is None else np.asarray(made + bias.reshape(-1, *[1] * axes))
    x = np.pad(x, [(0, 0), (0, 0), *pads]) if any(map(any, pads)) else x
    seen = windows(np.ascontiguousarray(x), w.shape[2:], strides, dilations)
    made = _correlate(seen, w, call.get("group", 1))
    return made if bias is None else np.asarray(made + bias.reshape(-1, *[1] * axes))


def _has_single_numbers(x: Array, groups: int) -> bool:
    """Whether there is no more than one number in all that a group of channels has of a sample; zeros otherwise."""
    if not x.size or np.count_nonzero(x[0]) > groups:
        return False
    return bool(np.count_nonzero(x.reshape(len(x) * groups, -1), axis=1).max() <= 1)


def _of_single_numbers(
    x: Array,
    w: Array,
    groups: int,
    strides: Sequence[int],
    dilations: Sequence[int],
    pads: Sequence[tuple[int, int]],
) -> Array:
    """Of single numbers among zeros: rows of the weight as they are, and no product of many numbers with zeros."""
    samples, each = len(x), len(w) // groups
    apart = x.reshape(samples * groups, -1)
    where = np.argmax(apart != 0, axis=1)
    channel, *at = np.unravel_index(where, (x.shape[1] // groups, *x.shape[2:]))
    met, which = np.unique(channel, return_inverse=True)
    taps = w.reshape(groups, each, w.shape[1], -1).take(met, axis=2).transpose(0, 2, 3, 1)
    table = np.zeros((prod(taps.shape[:-1]) + 1, each))
    table[:-1].reshape(taps.shape)[:] = taps
    # Of each output: the row of that table, outputs of one axis behind those of the other.
    rows = (np.tile(np.arange(groups), samples) * len(met) + which)[:, None]
    outputs, meets = [], np.ones_like(rows, np.bool_)
    for place, size, length, stride, dilation, (first, last) in zip(
        at, x.shape[2:], w.shape[2:], strides, dilations, pads, strict=True
    ):
        outputs.append(max(0, (size + first + last - dilation * (length - 1) - 1) // stride + 1))
        steps = (place + first)[:, None] - stride * np.arange(outputs[-1])
        met = (steps % dilation == 0) & (steps >= 0) & (steps < dilation * length)
        meets = (meets[:, :, None] & met[:, None]).reshape(len(apart), -1)
        rows = (rows[:, :, None] * length + steps[:, None] // dilation).reshape(len(apart), -1)
    made = np.take(table, np.where(meets, rows, len(table) - 1), axis=0)
    made *= apart[np.arange(len(apart)), where][:, None, None]
    return np.moveaxis(made, 1, -1).reshape(samples, len(w), *outputs)


def _correlate(seen: Array, w: Array, groups: int) -> Array:
    batch, channels = seen.shape[:2]
    axes = w.ndim - 2
    outputs = seen.shape[2 : 2 + axes]
    if channels == groups:  # depthwise: too little for a matrix product
        return _depthwise(seen, w)
    length = batch * prod(outputs) * w[0].size * groups
    if length > _MOST_PATCHES and batch > 1:
        half = batch // 2
        return np.concatenate([_correlate(seen[:half], w, groups), _correlate(seen[half:], w, groups)])
    order = (0, *range(2, 2 + axes), 1, *range(2 + axes, 2 + 2 * axes))
    each = channels // groups
    made = [
        product(
            seen[:, group * each : (group + 1) * each].transpose(order).reshape(-1, w[0].size),
            w[group * len(w) // groups : (group + 1) * len(w) // groups].reshape(-1, w[0].size).T,
        )
        for group in range(groups)
    ]
    rows = made[0] if groups == 1 else np.concatenate(made, axis=1)
    return np.moveaxis(rows.reshape(batch, *outputs, len(w)), -1, 1)


def _depthwise(seen: Array, w: Array) -> Array:
    """Every channel by itself, tap by tap, and as many channels at a time as stay in the processor's cache."""
    batch, channels, *outputs = seen.shape[: w.ndim]
    weight = w.reshape(channels, -1, *[1] * len(outputs), *w.shape[2:])
    made = np.zeros((batch, channels, weight.shape[1], *outputs))
    step = max(1, _MOST_IN_CACHE * channels // max(1, made.size))
    for begin in range(0, channels, step):
        some = slice(begin, begin + step)
        held = made[:, some]
        one = np.empty_like(held)
        for tap in np.ndindex(*w.shape[2:]):
            at: tuple[Any, ...] = (..., *tap)
            held += np.multiply(seen[at][:, some, None], weight[at][some], out=one)
    return made.reshape(batch, len(w), *outputs)


@computes("ConvTranspose")
def _conv_transpose(call: Call, x: Array, w: Array, bias: Array | None = None) -> Array:
    axes = x.ndim - 2
    strides, dilations = call.integers("strides", [1] * axes), call.integers("dilations", [1] * axes)
    extra = call.integers("output_padding", [0] * axes)
    whole = _spread(x, w, call.get("group", 1), strides, dilations, extra)
    ends = zip(_cut(call, x.shape[2:], whole.shape[2:], strides), whole.shape[2:], strict=True)
    inner: tuple[Any, ...] = (..., *(slice(first, size - last) for (first, last), size in ends))
    made = whole[inner]
    return made if bias is None else np.asarray(made + bias.reshape(-1, *[1] * axes))


def _spread(
    x: Array, w: Array, groups: int, strides: Sequence[int], dilations: Sequence[int], extra: Sequence[int]
) -> Array:
    """A transposed convolution without padding: each input place spread over as much as the kernel is long."""
    batch, channels, *places = x.shape
    kernel, each, outputs = w.shape[2:], channels // groups, w.shape[1]
    axes = zip(places, kernel, strides, dilations, extra, strict=True)
    sizes = [stride * (n - 1) + dilation * (k - 1) + 1 + more for n, k, stride, dilation, more in axes]
    made = np.zeros((batch, groups * outputs, *sizes))
    for group in range(groups):
        rows = np.moveaxis(x[:, group * each : (group + 1) * each], 1, -1).reshape(-1, each)
        matrix = w[group * each : (group + 1) * each].reshape(each, -1)
        taps = product(rows, matrix).reshape(batch, *places, outputs, *kernel)
        for tap in np.ndindex(*kernel):
            steps = zip(tap, dilations, strides, places, strict=True)
            where = (slice(o * d, o * d + s * (n - 1) + 1, s) for o, d, s, n in steps)
            target: tuple[Any, ...] = (slice(None), slice(group * outputs, (group + 1) * outputs), *where)
            at: tuple[Any, ...] = (..., *tap)
            made[target] += np.moveaxis(taps[at], -1, 1)
    return made


def _cut(call: Call, places: Sequence[int], whole: Sequence[int], strides: Sequence[int]) -> list[tuple[int, int]]:
    """What is cut off at the beginning and at the end of each axis."""
    automatic, shape = call.text("auto_pad", "NOTSET"), call.get("output_shape")
    if not shape and automatic in ("NOTSET", "VALID"):
        pads = call.integers("pads", [0] * 2 * len(whole)) if automatic == "NOTSET" else [0] * 2 * len(whole)
        return list(zip(pads[: len(whole)], pads[len(whole) :], strict=True))
    wanted = list(shape)[-len(whole) :] if shape else [n * s for n, s in zip(places, strides, strict=True)]
    total = [max(0, size - want) for size, want in zip(whole, wanted, strict=True)]
    halves = [(cut // 2, cut - cut // 2) for cut in total]
    return halves if automatic == "SAME_UPPER" else [(large, small) for small, large in halves]
