"""What one output of a convolution sees of an axis."""

from dataclasses import dataclass
from math import lcm
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from onnx import NodeProto, TensorProto


@dataclass(frozen=True)
class Window:
    """What outputs of a contraction see of one axis.

    Attributes:
        length: how many places one output sees, from the first to the last.
        stride: how far the windows of neighbouring outputs are from each other.
    """

    length: int
    stride: int

    def joined(self, other: "Window") -> "Window":
        """One that holds both, side by side."""
        return Window(max(self.length, other.length), lcm(self.stride, other.stride))


def windows(node: "NodeProto", weight: "TensorProto") -> tuple[Window, ...]:
    """Of a Conv or ConvTranspose, one for each axis behind the channels.

    Every output of a ConvTranspose sees every place that is near enough.
    """
    kernel = [int(size) for size in weight.dims[2:]]
    given = {entry.name: [int(size) for size in entry.ints] for entry in node.attribute}
    ones = [1] * len(kernel)
    dilations = given.get("dilations", ones)
    strides = given.get("strides", ones) if node.op_type == "Conv" else ones
    return tuple(Window((size - 1) * by + 1, step) for size, by, step in zip(kernel, dilations, strides, strict=True))
