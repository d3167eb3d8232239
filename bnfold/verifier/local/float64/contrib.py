"""Operators of com.microsoft that onnxruntime's optimisers write, in float64: onnx's own implementation has none.

Source: https://github.com/microsoft/onnxruntime/blob/main/docs/ContribOperators.md
"""

from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

from bnfold.verifier.local.float64.operator import (
    OF_MICROSOFT,
    OPERATORS,
    Array,
    Call,
    NotComputedError,
    computes,
)
from bnfold.verifier.local.float64.reference import by_reference

_computes = partial(computes, table=OF_MICROSOFT)
# The first version of Pad with its pads at an input.
_PAD_WITH_INPUTS = 13
_NUMBERS = {"LeakyRelu": ("alpha",), "Clip": ("min", "max"), "HardSigmoid": ("alpha", "beta")}


def _standard(op_type: str, call: Call, *inputs: Array | None, **attributes: Any) -> Array:  # noqa: ANN401
    """What an operator of ONNX makes of the same inputs, with these attributes instead of the call's."""
    if op_type not in OPERATORS:
        return by_reference(op_type, call.version, inputs, attributes)
    given = attributes or call.attributes
    made = OPERATORS[op_type](replace(call, op_type=op_type, outputs=1, attributes=given), *inputs)
    return made if isinstance(made, np.ndarray) else made[0]


def _activated(call: Call, x: Array, numbers: dict[str, float]) -> Array:
    name = call.text("activation", "")
    if not name:
        return x
    given = {key: numbers[key] for key in _NUMBERS.get(name, ()) if key in numbers}
    return np.clip(x, given["min"], given["max"]) if name == "Clip" else _standard(name, call, x, **given)


@_computes("FusedConv")
def _fused_conv(call: Call, x: Array, w: Array, bias: Array | None = None, z: Array | None = None) -> Array:
    return _convolved(call, x, w, bias, z)


def _convolved(call: Call, x: Array, w: Array, bias: Array | None, z: Array | None) -> Array:
    made = _standard("Conv", call, x, w, bias)
    named = _NUMBERS.get(call.text("activation", ""), ())
    numbers = dict(zip(named, call.get("activation_params", ()), strict=False))
    return _activated(call, made if z is None else made + z, numbers)


@_computes("NhwcFusedConv")
def _nhwc_fused_conv(call: Call, x: Array, w: Array, bias: Array | None = None, z: Array | None = None) -> Array:
    made = _convolved(call, np.moveaxis(x, -1, 1), w, bias, None if z is None else np.moveaxis(z, -1, 1))
    return np.moveaxis(made, 1, -1)


@_computes("NhwcConv")
def _nhwc_conv(call: Call, x: Array, w: Array, bias: Array | None = None) -> Array:
    """The weight has its inputs in front of the kernel or behind it: as what it reads and the node itself allow."""
    kernel, inputs = tuple(call.get("kernel_shape") or ()), x.shape[-1] // call.get("group", 1)
    fits = {
        axis: w.shape[axis] == inputs and kernel in ((), tuple(np.delete(w.shape, [0, axis])))
        for axis in (1, w.ndim - 1)
    }
    if sum(fits.values()) != 1:
        raise NotComputedError("NhwcConv whose weight can be read in two orders")
    (axis,) = (axis for axis, does in fits.items() if does)
    made = _standard("Conv", call, np.moveaxis(x, -1, 1), np.moveaxis(w, axis, 1), bias)
    return np.moveaxis(made, 1, -1)


@_computes("FusedGemm")
def _fused_gemm(call: Call, a: Array, b: Array, c: Array | None = None) -> Array:
    prefix = "activation_"
    numbers = {name.removeprefix(prefix): value for name, value in call.attributes.items() if name.startswith(prefix)}
    return _activated(call, _standard("Gemm", call, a, b, c), numbers)


@_computes("FusedMatMul", "TransposeMatMul")
def _fused_mat_mul(call: Call, a: Array, b: Array) -> Array:
    if call.get("transBatchA") or call.get("transBatchB"):
        raise NotComputedError("FusedMatMul with transposed batches")
    a = a.swapaxes(-1, -2) if call.get("transA") and a.ndim > 1 else a
    b = b.swapaxes(-1, -2) if call.get("transB") and b.ndim > 1 else b
    return np.asarray(call.get("alpha", 1.0) * _standard("MatMul", call, a, b))


@_computes("Gelu")
def _gelu(call: Call, x: Array) -> Array:
    return _standard("Gelu", call, x, approximate="none")


@_computes("BiasGelu")
def _bias_gelu(call: Call, x: Array, bias: Array) -> Array:
    return _standard("Gelu", call, x + bias, approximate="none")


@_computes("FastGelu")
def _fast_gelu(call: Call, x: Array, bias: Array | None = None) -> Array:
    return _standard("Gelu", call, x if bias is None else x + bias, approximate="tanh")


@_computes("BiasAdd")
def _bias_add(_call: Call, x: Array, bias: Array, skip: Array) -> Array:
    return x + bias + skip


@_computes("GridSample")
def _grid_sample(call: Call, x: Array, grid: Array) -> Array:
    return _standard("GridSample", call, x, grid)


@_computes("QuickGelu")
def _quick_gelu(call: Call, x: Array) -> Array:
    return np.asarray(x * _standard("Sigmoid", call, call.get("alpha", 1.702) * x))


@_computes("SkipLayerNormalization")
def _skip_layer_norm(
    call: Call, x: Array, skip: Array, gamma: Array, beta: Array | None = None, bias: Array | None = None
) -> list[Array]:
    total = x + skip if bias is None else x + skip + bias
    made = _standard("LayerNormalization", call, total, gamma, beta, axis=-1, epsilon=call.get("epsilon", 1e-12))
    return [made, np.empty(0), np.empty(0), total]


@_computes("EmbedLayerNormalization")
def _embed_layer_norm(
    call: Call,
    words: Array,
    segments: Array | None,
    of_words: Array,
    of_positions: Array,
    of_segments: Array | None,
    gamma: Array,
    beta: Array,
    mask: Array | None = None,
    positions: Array | None = None,
) -> list[Array]:
    if mask is not None:
        raise NotComputedError("EmbedLayerNormalization with a mask")
    places = np.arange(words.shape[1])[None] if positions is None else positions
    total = of_words[words] + of_positions[places]
    if segments is not None and of_segments is not None:
        total = total + of_segments[segments]
    made = _standard("LayerNormalization", call, total, gamma, beta, axis=-1, epsilon=call.get("epsilon", 1e-12))
    return [made, np.zeros(len(words), np.int32), total]


@_computes("Attention")
def _attention(call: Call, x: Array, weights: Array, bias: Array | None = None, *more: Array | None) -> Array:
    if any(values is not None for values in more) or call.get("do_rotary"):
        raise NotComputedError("Attention with a mask, a past or rotary embeddings")
    sizes = list(call.get("qkv_hidden_sizes") or [weights.shape[1] // 3] * 3)
    projected = x @ weights if bias is None else x @ weights + bias
    return _attended(call, *np.split(projected, np.cumsum(sizes)[:2], axis=-1))


def _attended(call: Call, *parts: Array) -> Array:
    """Attention with heads, of queries, keys and values of rank 3."""
    heads = call.get("num_heads", 1)
    q, k, v = (part.reshape(*part.shape[:2], heads, -1).transpose(0, 2, 1, 3) for part in parts)
    scores = q @ k.swapaxes(-1, -2) * (call.get("scale") or 1 / np.sqrt(q.shape[-1]))
    if call.get("unidirectional"):
        scores = np.where(np.tril(np.ones(scores.shape[-2:], np.bool_)), scores, -np.inf)
    made = _standard("Softmax", call, scores, axis=-1) @ v
    return np.asarray(made.transpose(0, 2, 1, 3).reshape(*parts[0].shape[:2], -1))


@_computes("MultiHeadAttention")
def _multi_head_attention(
    call: Call, q: Array, k: Array | None = None, v: Array | None = None, bias: Array | None = None, *more: Array | None
) -> Array:
    if k is None or v is None or {part.ndim for part in (q, k, v)} != {3} or any(value is not None for value in more):
        raise NotComputedError("MultiHeadAttention of packed tensors, with a mask or with a past")
    parts = (q, k, v)
    if bias is not None:
        places = np.cumsum([part.shape[-1] for part in parts])[:2]
        parts = tuple(part + own for part, own in zip(parts, np.split(bias, places), strict=True))
    return _attended(call, *parts)


@_computes("ConvTransposeWithDynamicPads")
def _conv_transpose_with_dynamic_pads(
    call: Call, x: Array, w: Array, pads: Array | None = None, bias: Array | None = None
) -> Array:
    given = call.attributes if pads is None else {**call.attributes, "pads": pads.tolist()}
    return _standard("ConvTranspose", call, x, w, bias, **given)


@_computes("Pad")
def _pad(call: Call, x: Array, pads: Array, value: Array | None = None) -> Array:
    number = None if value is None else value.reshape(())
    return by_reference("Pad", max(call.version, _PAD_WITH_INPUTS), (x, pads.reshape(-1), number), call.attributes)


@_computes("GroupNorm")
def _group_norm(call: Call, x: Array, gamma: Array, beta: Array) -> Array:
    last = call.get("channels_last", 1)
    given = {"num_groups": call.get("groups"), "epsilon": call.get("epsilon", 1e-5)}
    made = _standard("GroupNormalization", call, np.moveaxis(x, -1, 1) if last else x, gamma, beta, **given)
    made = made / (1 + np.exp(-made)) if call.get("activation") else made
    return np.moveaxis(made, 1, -1) if last else made
