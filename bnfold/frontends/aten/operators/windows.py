"""Strides, dilations and padding of PyTorch's convolutions and poolings."""

from collections.abc import Sequence

from bnfold.frontends.aten.operators.call import AtenCall
from bnfold.frontends.common.undecodable import Undecodable
from bnfold.window import Window


def read_window(call: AtenCall, kernel: Sequence[int], source: str = "input") -> Window | None:
    """Where the kernel of a convolution lies on its input.

    Args:
        call: of a convolution that is not transposed, or of a pooling with average.
        kernel: its length along each axis.
        source: the argument that is slid over.

    Returns:
        The window; None where an argument is computed at run time, or contradicts the kernel.
    """
    try:
        return _read(call, kernel, source)
    except Undecodable:  # a map needs none of these arguments, and so they make no node opaque
        return None


def _read(call: AtenCall, kernel: Sequence[int], source: str) -> Window | None:
    axes = len(kernel)
    strides = _each(call.fixed("stride"), axes) or tuple(kernel)
    dilations = _each(call.fixed("dilation"), axes) if "dilation" in call.node.arguments else (1,) * axes
    padding = call.fixed("padding")
    if padding == "same":
        spans = [step * (size - 1) for step, size in zip(dilations, kernel, strict=True)]
        before, behind = tuple(span // 2 for span in spans), tuple(span - span // 2 for span in spans)
    else:
        before = behind = (0,) * axes if padding == "valid" else _each(padding, axes)
    if {len(strides), len(dilations), len(before)} != {axes} or min((*strides, *dilations), default=1) < 1:
        return None
    shape = call.value(source).shape
    known = (None,) * axes if shape is None else shape[len(shape) - axes :]
    lengths = tuple(length if isinstance(length, int) else None for length in known)
    return Window(strides, dilations, before, behind, lengths)


def _each(given: int | Sequence[int], axes: int) -> tuple[int, ...]:
    """One number for each axis, where one may stand for all."""
    numbers = (given,) if isinstance(given, int) else tuple(int(number) for number in given)
    return numbers * axes if len(numbers) == 1 else numbers
