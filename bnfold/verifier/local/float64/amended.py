"""Operators that onnx's reference implementation computes less exactly, in other versions only, or wrongly.

Erf comes out of float32 there, Pad cannot cut, Softmax and BatchNormalization are those of later versions,
LpNormalization knows one norm, GridSample knows its modes by their later names, and GroupNormalization does not run.
Source: ONNX, all versions up to opset 24.
"""

import math
from typing import Any

import numpy as np

from bnfold.verifier.local.float64.operator import Array, Call, NotComputedError, computes
from bnfold.verifier.local.float64.reference import by_reference

_ALL_AXES_BEHIND = 13
_EPSILON = float(np.float32(1e-5))  # the default of an attribute, which is a float32
_LATER_NAMES = {"bilinear": "linear", "bicubic": "cubic"}
_GRID_SAMPLE = 20
_erf = np.vectorize(math.erf, otypes=[np.float64])


@computes("Erf")
def _erf_of(_call: Call, x: Array) -> Array:
    return np.asarray(_erf(x))


@computes("Gelu")
def _gelu(call: Call, x: Array) -> Array:
    if call.text("approximate", "none") == "tanh":
        return np.asarray(0.5 * x * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3))))
    return np.asarray(0.5 * x * (1 + _erf(x / math.sqrt(2))))


@computes("Pad")
def _pad(
    call: Call, x: Array, pads: Array | None = None, value: Array | None = None, axes: Array | None = None
) -> Array:
    given = [int(pad) for pad in (call.get("pads", call.get("paddings")) if pads is None else pads)]
    along = list(range(x.ndim)) if axes is None else [int(axis) % x.ndim for axis in axes]
    widths = [(0, 0)] * x.ndim
    for place, axis in enumerate(along):
        widths[axis] = (given[place], given[place + len(along)])
    cut: tuple[Any, ...] = tuple(
        slice(max(0, -begin), size - max(0, -end)) for (begin, end), size in zip(widths, x.shape, strict=True)
    )
    more = [(max(0, begin), max(0, end)) for begin, end in widths]
    mode = call.text("mode", "constant")
    if mode == "constant":
        filler = call.get("value", 0.0) if value is None or not value.size else value.reshape(())
        return np.pad(x[cut], more, constant_values=filler)
    return np.pad(x[cut], more, mode=mode)  # type: ignore[call-overload,no-any-return]


def _softmax_axes(call: Call, x: Array) -> tuple[int, ...]:
    """One axis; before opset 13 all behind it as well."""
    if call.version >= _ALL_AXES_BEHIND:
        return (call.get("axis", -1) % x.ndim,)
    return tuple(range(call.get("axis", 1) % x.ndim, x.ndim))


@computes("Softmax")
def _softmax(call: Call, x: Array) -> Array:
    axes = _softmax_axes(call, x)
    powers = np.exp(x - x.max(axis=axes, keepdims=True))
    return np.asarray(powers / powers.sum(axis=axes, keepdims=True))


@computes("LogSoftmax")
def _log_softmax(call: Call, x: Array) -> Array:
    axes = _softmax_axes(call, x)
    below = x - x.max(axis=axes, keepdims=True)
    return np.asarray(below - np.log(np.exp(below).sum(axis=axes, keepdims=True)))


@computes("BatchNormalization")
def _batch_norm(call: Call, x: Array, scale: Array, bias: Array, mean: Array, variance: Array) -> Array:
    if call.get("training_mode") or call.get("spatial", 1) == 0 or call.get("is_test", 1) == 0:
        raise NotComputedError("statistics of the batch, or of each pixel")
    if call.outputs > 1:
        raise NotComputedError("a BatchNormalization with statistics as outputs")
    # A vector is one channel. Source: ONNX BatchNormalization-9
    shape = (1, -1) + (1,) * (x.ndim - 2) if x.ndim > 1 else (1,)
    factor = (scale / np.sqrt(variance + call.get("epsilon", _EPSILON))).reshape(shape)
    made = x - mean.reshape(shape)
    made *= factor
    made += bias.reshape(shape)
    return np.asarray(made)


@computes("Reshape")
def _reshape(call: Call, x: Array, sizes: Array | None = None) -> Array:
    given = [int(size) for size in (call.get("shape") if sizes is None else sizes)]
    found = [x.shape[axis] if size == 0 and not call.get("allowzero") else size for axis, size in enumerate(given)]
    if found and min(found) >= 0 and math.prod(found) != x.size:  # on more samples than the file says
        found[0] = len(x)
    return x.reshape(found)


@computes("GroupNormalization")
def _group_norm(call: Call, x: Array, scale: Array, bias: Array) -> Array:
    groups = call.get("num_groups")
    apart = x.reshape(x.shape[0], groups, -1)
    centred = apart - apart.mean(axis=2, keepdims=True)
    variance = np.square(centred).mean(axis=2, keepdims=True)
    made = (centred / np.sqrt(variance + call.get("epsilon", _EPSILON))).reshape(x.shape)
    each = x.shape[1] // len(scale)  # before opset 21 there is one for each group
    shape = (1, -1) + (1,) * (x.ndim - 2)
    return np.asarray(made * np.repeat(scale, each).reshape(shape) + np.repeat(bias, each).reshape(shape))


@computes("LpNormalization")
def _lp_norm(call: Call, x: Array) -> Array:
    axis = call.get("axis", -1)
    return np.asarray(x / np.linalg.norm(x, call.get("p", 2), axis, keepdims=True))


@computes("GridSample")
def _grid_sample(call: Call, x: Array, grid: Array) -> Array:
    named = call.text("mode", "linear")
    mode = _LATER_NAMES.get(named, named)
    if mode == "cubic" and call.text("padding_mode", "zeros") == "border":
        raise NotComputedError("GridSample with cubic places at a border: onnx's implementation and onnxruntime differ")
    given = {**call.attributes, "mode": mode}
    return by_reference("GridSample", max(call.version, _GRID_SAMPLE), (x, grid), given)
