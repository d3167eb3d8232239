"""Operators in float64 that onnx's reference implementation gets wrong, or lacks in some form."""

from collections.abc import Sequence
from functools import cache
from typing import Any

import numpy as np

from bnfold.verifier.compare.channels import Array


@cache
def own_references() -> list[Any]:
    """Classes of onnx's OpRun, which are imported late."""
    return [_batch_normalization(), _conv_transpose()]


def _batch_normalization() -> Any:  # noqa: ANN401 - a class of onnx's
    """Onnx's own takes the statistics of the batch in the versions before 14, whatever the node says.

    Source: ONNX BatchNormalization-7 to -15, in inference.
    """
    from onnx.reference.op_run import OpRun

    class BatchNormalization(OpRun):
        op_domain = ""

        def _run(self, x: Array, *parameters: Array, epsilon: float, **attributes: Any) -> tuple[Array]:  # noqa: ANN401
            if attributes.get("training_mode") or attributes.get("spatial", 1) == 0:
                raise NotImplementedError("statistics of the batch, or of each pixel")
            shape = (1, -1) + (1,) * (x.ndim - 2)
            scale, bias, mean, variance = (parameter.reshape(shape) for parameter in parameters)
            return ((x - mean) * (scale / np.sqrt(variance + epsilon)) + bias,)

    return BatchNormalization


def _conv_transpose() -> Any:  # noqa: ANN401 - a class of onnx's
    """Onnx's own has no groups.

    Source: ONNX ConvTranspose-1 to -22.
    """
    from onnx.reference.op_run import OpRun

    class ConvTranspose(OpRun):
        op_domain = ""

        def _run(self, x: Array, w: Array, bias: Array | None = None, **attributes: Any) -> tuple[Array]:  # noqa: ANN401
            axes = x.ndim - 2
            strides, dilations, extra = (
                list(attributes.get(name) or [default] * axes)
                for name, default in (("strides", 1), ("dilations", 1), ("output_padding", 0))
            )
            whole = spread(x, w, attributes.get("group") or 1, strides, dilations, extra)
            begin, end = _pads(attributes, x.shape[2:], whole.shape[2:], strides)
            ends = zip(begin, end, whole.shape[2:], strict=True)
            inner: tuple[Any, ...] = (..., *(slice(first, size - last) for first, last, size in ends))
            y = whole[inner]
            return (y if bias is None else y + bias.reshape(-1, *[1] * axes),)

    return ConvTranspose


def spread(
    x: Array, w: Array, groups: int, strides: Sequence[int], dilations: Sequence[int], extra: Sequence[int]
) -> Array:
    """A transposed convolution without padding.

    Args:
        x: (batch, channels, *places).
        w: (channels, outputs / groups, *kernel).
        groups: of the channels.
        strides: one per axis of places.
        dilations: likewise.
        extra: places that are added at the end, likewise.

    Returns:
        (batch, outputs, *places), each input place spread over as much as the kernel is long.
    """
    batch, channels, *places = x.shape
    kernel = w.shape[2:]
    x = x.reshape(batch, groups, channels // groups, -1)
    w = w.reshape(groups, channels // groups, w.shape[1], *kernel)
    axes = zip(places, kernel, strides, dilations, extra, strict=True)
    sizes = [stride * (n - 1) + dilation * (k - 1) + 1 + more for n, k, stride, dilation, more in axes]
    y = np.zeros((batch, groups, w.shape[2], *sizes), np.result_type(x, w))
    for offset in np.ndindex(*kernel):
        tap: tuple[Any, ...] = (..., *offset)
        made = np.einsum("bgcp,gcm->bgmp", x, w[tap]).reshape(batch, groups, w.shape[2], *places)
        steps = zip(offset, dilations, strides, places, strict=True)
        target: tuple[Any, ...] = (..., *(slice(o * d, o * d + s * (n - 1) + 1, s) for o, d, s, n in steps))
        y[target] += made
    return y.reshape(batch, -1, *sizes)


def _pads(
    attributes: dict[str, Any], places: Sequence[int], whole: Sequence[int], strides: Sequence[int]
) -> tuple[list[int], list[int]]:
    """What is cut off at the beginning and at the end of each axis."""
    automatic = attributes.get("auto_pad") or "NOTSET"
    shape = attributes.get("output_shape")
    if shape is None and automatic in ("NOTSET", "VALID"):
        pads = list(attributes.get("pads") or []) if automatic == "NOTSET" else []
        pads = pads or [0] * (2 * len(whole))
        return pads[: len(whole)], pads[len(whole) :]
    wanted = list(shape)[-len(whole) :] if shape is not None else [n * s for n, s in zip(places, strides, strict=True)]
    total = [max(0, size - want) for size, want in zip(whole, wanted, strict=True)]
    small, large = [cut // 2 for cut in total], [cut - cut // 2 for cut in total]
    return (small, large) if automatic == "SAME_UPPER" else (large, small)
