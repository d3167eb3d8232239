"""Strides, dilations and padding of ONNX's convolutions and poolings."""

from collections.abc import Sequence

from bnfold.frontends.onnx.attributes import ReferenceAttributeError, attribute
from bnfold.frontends.onnx.graph import OnnxNode
from bnfold.window import Window


def read_window(node: OnnxNode, kernel: Sequence[int]) -> Window | None:
    """Where the kernel of a Conv or AveragePool lies on its input.

    Args:
        node: the node, whose first input is slid over.
        kernel: its length along each axis.

    Returns:
        The window; None where auto_pad pads by what is not known before run time, where attributes contradict the
        kernel, or where the caller of a function gives them.
    """
    try:
        return _read(node, kernel)
    except ReferenceAttributeError:  # a map needs none of these attributes, and so they make no node opaque
        return None


def _read(node: OnnxNode, kernel: Sequence[int]) -> Window | None:
    axes = len(kernel)
    strides = tuple(attribute(node, "strides", None) or (1,) * axes)
    dilations = tuple(attribute(node, "dilations", None) or (1,) * axes)
    given = tuple(attribute(node, "pads", None) or (0,) * 2 * axes)
    lengths = _lengths(node, axes)
    if not len(strides) == len(dilations) == len(given) / 2 == axes or min((*strides, *dilations), default=1) < 1:
        return None
    automatic = attribute(node, "auto_pad", b"NOTSET")
    if automatic.startswith(b"SAME"):
        spans = [step * (size - 1) + 1 for step, size in zip(dilations, kernel, strict=True)]
        totals = [_same(*along) for along in zip(lengths, strides, spans, strict=True)]
        known = [total for total in totals if total is not None]
        if len(known) < axes:
            return None
        small = tuple(total // 2 for total in known)
        large = tuple(total - part for total, part in zip(known, small, strict=True))
        before, behind = (small, large) if automatic == b"SAME_UPPER" else (large, small)
    elif automatic == b"NOTSET":
        before, behind = given[:axes], given[axes:]
    else:
        before = behind = (0,) * axes
    if min((*before, *behind), default=0) < 0:
        return None
    return Window(strides, dilations, before, behind, lengths)


def _lengths(node: OnnxNode, axes: int) -> tuple[int | None, ...]:
    source = node.inputs[0]
    if source is None or source.shape is None or len(source.shape) != axes + 2:
        return (None,) * axes
    return tuple(length if isinstance(length, int) else None for length in source.shape[2:])


def _same(length: int | None, stride: int, span: int) -> int | None:
    """What SAME pads along an axis in all, so that there are length / stride places, rounded up."""
    if stride == 1:
        return span - 1
    if length is None:
        return None
    return max((-(-length // stride) - 1) * stride + span - length, 0)
