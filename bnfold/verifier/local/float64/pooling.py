"""Pooling in float64: onnx's own goes place by place of the output.

Source: ONNX MaxPool-1 to -22, AveragePool-1 to -22, GlobalMaxPool-1 to -22.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from bnfold.verifier.local.float64.contractions import padding, windows
from bnfold.verifier.local.float64.operator import Array, Call, NotComputedError, computes


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


@computes("GlobalMaxPool")
def _global_max_pool(_call: Call, x: Array) -> Array:
    """Of any rank: onnx's own takes the channels along where there is one axis of places."""
    return np.asarray(x.max(axis=tuple(range(2, x.ndim)), keepdims=True))


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
