"""Operators that take many numbers together: pooling, reductions, softmax and norms. Source: ONNX up to opset 24."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from bnfold.verifier.local.float64.contractions import padding, windows
from bnfold.verifier.local.float64.operator import OPERATORS, Array, Call, NotComputedError, computes

_ALL_AXES_BEHIND = 13


@dataclass(frozen=True)
class _Pooling:
    """How a pooling walks over a tensor.

    Attributes:
        kernel, strides, dilations: one number for each axis of places.
        pads: what is added before and behind each axis.
        more: what is added behind that, where the number of outputs is rounded up.
    """

    kernel: list[int]
    strides: list[int]
    dilations: list[int]
    pads: list[tuple[int, int]]
    more: list[tuple[int, int]]

    @classmethod
    def of(cls, call: Call, places: Sequence[int]) -> "_Pooling":
        """Over so many places."""
        kernel = call.integers("kernel_shape", ())
        strides, dilations = (call.integers(name, [1] * len(kernel)) for name in ("strides", "dilations"))
        pads = padding(call, places, kernel, strides, dilations)
        axes = zip(pads, places, kernel, strides, dilations, strict=True)
        more = [(0, _rounded_up(size, pad, *rest) if call.get("ceil_mode") else 0) for pad, size, *rest in axes]
        return cls(kernel, strides, dilations, pads, more)

    def over_windows(self, function: np.ufunc, x: Array, padded_with: float, more_with: float) -> Array:
        """What a function of two makes of all that an output sees, one place of the kernel after the other."""
        padded = _padded(x, self.pads, padded_with)
        seen = windows(_padded(padded, self.more, more_with), self.kernel, self.strides, self.dilations)
        first, *others = [(..., *place) for place in np.ndindex(*self.kernel)]
        made = np.array(seen[first])
        for place in others:
            function(made, seen[place], out=made)
        return made


@computes("MaxPool")
def _max_pool(call: Call, x: Array) -> Array:
    if call.outputs > 1:
        raise NotComputedError("the indices of a MaxPool")
    return _Pooling.of(call, x.shape[2:]).over_windows(np.maximum, x, -np.inf, -np.inf)


@computes("AveragePool")
def _average_pool(call: Call, x: Array) -> Array:
    pooling = _Pooling.of(call, x.shape[2:])
    counts_padding = 1.0 if call.get("count_include_pad") else 0.0
    counts = pooling.over_windows(np.add, np.ones((1, 1, *x.shape[2:])), counts_padding, 0.0)
    return np.asarray(pooling.over_windows(np.add, x, 0.0, 0.0) / counts)


def _padded(x: Array, pads: Sequence[tuple[int, int]], number: float) -> Array:
    """With numbers around the places; the same array where there are none."""
    if not any(map(any, pads)):
        return x
    return np.pad(x, [(0, 0), (0, 0), *pads], constant_values=number)


def _rounded_up(size: int, pad: tuple[int, int], length: int, stride: int, dilation: int) -> int:
    """How much longer an axis has to be for one output more; none where that would begin in the padding behind."""
    reach, padded = dilation * (length - 1) + 1, size + sum(pad)
    count = -(-(padded - reach) // stride) + 1
    if (count - 1) * stride >= size + pad[0]:
        count -= 1
    return max(0, (count - 1) * stride + reach - padded)


@computes("GlobalAveragePool")
def _global_average_pool(_call: Call, x: Array) -> Array:
    return np.asarray(x.mean(axis=tuple(range(2, x.ndim)), keepdims=True))


@computes("GlobalMaxPool")
def _global_max_pool(_call: Call, x: Array) -> Array:
    return np.asarray(x.max(axis=tuple(range(2, x.ndim)), keepdims=True))


def _log_sum_exp(x: Array, axis: Any, keepdims: bool) -> Array:  # noqa: ANN401 - as numpy's own
    most = x.max(axis=axis, keepdims=True)
    made = np.log(np.exp(x - most).sum(axis=axis, keepdims=True)) + most
    return np.asarray(made if keepdims else made.squeeze(axis))


_REDUCTIONS: dict[str, Callable[..., Any]] = {
    "ReduceMean": np.mean,
    "ReduceSum": np.sum,
    "ReduceMax": np.max,
    "ReduceMin": np.min,
    "ReduceProd": np.prod,
    "ReduceSumSquare": lambda x, axis, keepdims: np.sum(x * x, axis=axis, keepdims=keepdims),
    "ReduceL1": lambda x, axis, keepdims: np.sum(np.abs(x), axis=axis, keepdims=keepdims),
    "ReduceL2": lambda x, axis, keepdims: np.sqrt(np.sum(x * x, axis=axis, keepdims=keepdims)),
    "ReduceLogSum": lambda x, axis, keepdims: np.log(np.sum(x, axis=axis, keepdims=keepdims)),
    "ReduceLogSumExp": _log_sum_exp,
}


def _enter_reductions() -> None:
    for op_type, function in _REDUCTIONS.items():
        OPERATORS[op_type] = lambda call, x, axes=None, _function=function: _reduce(call, _function, x, axes)


def _reduce(call: Call, function: Callable[..., Any], x: Array, given: Array | None) -> Array:
    axes = call.get("axes") if given is None else given
    if (axes is None or not len(axes)) and call.get("noop_with_empty_axes"):
        return x
    along = tuple(range(x.ndim)) if axes is None or not len(axes) else tuple(int(axis) for axis in axes)
    return np.asarray(function(x, axis=along, keepdims=bool(call.get("keepdims", 1))))


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
    return np.asarray(x - _log_sum_exp(x, _softmax_axes(call, x), keepdims=True))


@computes("BatchNormalization")
def _batch_norm(call: Call, x: Array, scale: Array, bias: Array, mean: Array, variance: Array) -> Array:
    if call.get("training_mode") or call.get("spatial", 1) == 0 or call.get("is_test", 1) == 0:
        raise NotComputedError("statistics of the batch, or of each pixel")
    if call.outputs > 1:
        raise NotComputedError("a BatchNormalization with statistics as outputs")
    # A vector is one channel. Source: ONNX BatchNormalization-9
    shape = (1, -1) + (1,) * (x.ndim - 2) if x.ndim > 1 else (1,)
    factor = (scale / np.sqrt(variance + call.get("epsilon", 1e-5))).reshape(shape)
    return np.asarray((x - mean.reshape(shape)) * factor + bias.reshape(shape))


def _standardised(x: Array, axes: tuple[int, ...], epsilon: float) -> Array:
    centred = x - x.mean(axis=axes, keepdims=True)
    return np.asarray(centred / np.sqrt(np.square(centred).mean(axis=axes, keepdims=True) + epsilon))


@computes("InstanceNormalization")
def _instance_norm(call: Call, x: Array, scale: Array, bias: Array) -> Array:
    shape = (1, -1) + (1,) * (x.ndim - 2)
    made = _standardised(x, tuple(range(2, x.ndim)), call.get("epsilon", 1e-5))
    return np.asarray(made * scale.reshape(shape) + bias.reshape(shape))


@computes("GroupNormalization")
def _group_norm(call: Call, x: Array, scale: Array, bias: Array) -> Array:
    groups = call.get("num_groups")
    apart = x.reshape(x.shape[0], groups, -1)
    made = _standardised(apart, (2,), call.get("epsilon", 1e-5)).reshape(x.shape)
    each = x.shape[1] // len(scale)  # before opset 21 there is one for each group
    shape = (1, -1) + (1,) * (x.ndim - 2)
    return np.asarray(made * np.repeat(scale, each).reshape(shape) + np.repeat(bias, each).reshape(shape))


@computes("LayerNormalization")
def _layer_norm(call: Call, x: Array, scale: Array, bias: Array | None = None) -> Array:
    if call.outputs > 1:
        raise NotComputedError("a LayerNormalization with statistics as outputs")
    axes = tuple(range(call.get("axis", -1) % x.ndim, x.ndim))
    made = _standardised(x, axes, call.get("epsilon", 1e-5)) * scale
    return np.asarray(made if bias is None else made + bias)


@computes("LpNormalization")
def _lp_norm(call: Call, x: Array) -> Array:
    axis = call.get("axis", -1)
    return np.asarray(x / np.linalg.norm(x, call.get("p", 2), axis, keepdims=True))


_enter_reductions()
