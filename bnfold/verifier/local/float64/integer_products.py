"""Products of com.microsoft whose weights are integers, in float64.

Source: https://github.com/microsoft/onnxruntime/blob/main/docs/ContribOperators.md
"""

from functools import partial

import numpy as np

from bnfold.verifier.local.float64.contractions import matmul
from bnfold.verifier.local.float64.operator import OF_MICROSOFT, Array, Call, NotComputedError, computes

_computes = partial(computes, table=OF_MICROSOFT)
_LARGEST = 255


def _centred(integers: Array, zero: Array | None) -> Array:
    return integers.astype(np.float64) - (0.0 if zero is None else zero.astype(np.float64))


@_computes("MatMulIntegerToFloat")
def _mat_mul_integer_to_float(
    _call: Call,
    a: Array,
    b: Array,
    a_scale: Array,
    b_scale: Array,
    a_zero: Array | None = None,
    b_zero: Array | None = None,
    bias: Array | None = None,
) -> Array:
    made = matmul(_centred(a, a_zero), _centred(b, b_zero)) * a_scale * b_scale
    return made if bias is None else np.asarray(made + bias)


@_computes("DynamicQuantizeMatMul")
def _dynamic_quantize_mat_mul(
    _call: Call, a: Array, b: Array, b_scale: Array, b_zero: Array | None = None, bias: Array | None = None
) -> Array:
    """As a DynamicQuantizeLinear in front of a MatMulIntegerToFloat."""
    least, most = min(0.0, a.min(initial=0.0)), max(0.0, a.max(initial=0.0))
    step = (most - least) / _LARGEST or 1.0
    zero = np.clip(np.rint(-least / step), 0, _LARGEST)
    rounded = np.clip(np.rint(a / step) + zero, 0, _LARGEST) - zero
    made = matmul(rounded, _centred(b, b_zero)) * step * b_scale
    return made if bias is None else np.asarray(made + bias)


@_computes("MatMulNBits")
def _mat_mul_n_bits(
    call: Call,
    a: Array,
    b: Array,
    scales: Array,
    zeros: Array | None = None,
    groups: Array | None = None,
    bias: Array | None = None,
) -> Array:
    """Without the rounding of a that level 4 of the operator's accuracy allows."""
    bits, block = call.get("bits", 4), call.get("block_size")
    columns, inputs = call.get("N"), call.get("K")
    if bits not in (2, 4, 8) or groups is not None or call.get("weight_prepacked"):
        raise NotComputedError(f"MatMulNBits with {bits} bits, an index of groups, or a weight packed for a device")
    scales = scales.reshape(columns, -1, 1)
    count = scales.shape[1]
    if zeros is None:
        centre: Array = np.full((1, 1, 1), float(1 << (bits - 1)))
    elif zeros.dtype == np.uint8:
        centre = _unpacked(zeros.reshape(columns, -1), bits)[:, :count, None]
    else:
        centre = zeros.reshape(columns, count, 1)
    blocks = (_unpacked(b.reshape(columns, count, -1), bits)[..., :block] - centre) * scales
    made = matmul(a, blocks.reshape(columns, -1)[:, :inputs].T)
    return made if bias is None else np.asarray(made + bias)


def _unpacked(packed: Array, bits: int) -> Array:
    """Numbers of so many bits, the lowest bits of a byte first."""
    parts = (packed[..., None] >> np.arange(0, 8, bits, dtype=np.uint8)) & ((1 << bits) - 1)
    return parts.reshape(*packed.shape[:-1], -1).astype(np.float64)
