"""Operators that quantize and dequantize. Source: ONNX QuantizeLinear-10 to -25, DequantizeLinear-10 to -25."""

from typing import Any

import numpy as np

from bnfold.verifier.local.float64.operator import Array, Call, NotComputedError, computes


def _along(parameter: Array, x: Array, call: Call) -> Array:
    """A scale or zero point as it broadcasts: one for all, one for each place of an axis, or one for each block."""
    axis = call.get("axis", 1)
    if parameter.ndim == 0 or (parameter.size == 1 and not call.get("block_size")):
        return parameter.reshape(())
    if call.get("block_size"):
        whole = np.repeat(parameter, call.get("block_size"), axis)
        return whole[tuple(slice(size) for size in x.shape)]
    shape = [1] * x.ndim
    shape[axis] = parameter.size
    return parameter.reshape(shape)


@computes("DequantizeLinear")
def _dequantize(call: Call, x: Array, scale: Array, zero: Array | None = None) -> Array:
    shift: Any = 0 if zero is None else _along(zero, x, call).astype(np.float64)
    return np.asarray((x.astype(np.float64) - shift) * _along(scale, x, call))


@computes("QuantizeLinear")
def _quantize(call: Call, x: Array, scale: Array, zero: Array | None = None) -> Array:
    target = np.dtype(np.uint8) if zero is None else zero.dtype
    if target.kind not in "iu" or target.itemsize > 4:
        raise NotComputedError(f"quantization to {target}")
    shift: Any = 0 if zero is None else _along(zero, x, call).astype(np.float64)
    limits = np.iinfo(target)
    return np.asarray(np.clip(np.rint(x / _along(scale, x, call)) + shift, limits.min, limits.max), target)


def without_rounding(call: Call, x: Array, scale: Array, zero: Array | None = None) -> Array:
    """A quantizer that scales, shifts and clips, and does not round: what is left of it is smooth."""
    target = np.dtype(np.uint8) if zero is None else zero.dtype
    shift: Any = 0 if zero is None else _along(zero, x, call).astype(np.float64)
    if target.kind not in "iu":
        return np.asarray(x / _along(scale, x, call) + shift)
    limits = np.iinfo(target)
    return np.asarray(np.clip(x / _along(scale, x, call) + shift, limits.min, limits.max))
