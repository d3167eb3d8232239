"""Which places of its input a convolution reads for each place of its output."""

from dataclasses import dataclass, replace


@dataclass(frozen=True)
class Window:
    """Output place j reads input places strides * j + dilations * u - before, for u from 0 to kernel - 1.

    Places outside the input hold zeros. One entry per spatial axis; a Gemm or a MatMul has no such axes.

    Attributes:
        strides: steps between the places that neighbouring outputs read first.
        dilations: steps between the places that one output reads.
        before: zeros padded in front of each axis.
        behind: zeros padded behind each axis.
        lengths: of the input along each axis, None where it is not known before run time.
    """

    strides: tuple[int, ...] = ()
    dilations: tuple[int, ...] = ()
    before: tuple[int, ...] = ()
    behind: tuple[int, ...] = ()
    lengths: tuple[int | None, ...] = ()

    def reach(self, axis: int, kernel: int) -> int:
        """What padding adds less what the kernel takes off: there are (length + reach - 1) // stride + 1 output places.

        Args:
            axis: spatial, from 0.
            kernel: length of the kernel on that axis.
        """
        return self.before[axis] + self.behind[axis] - self.dilations[axis] * (kernel - 1)

    def output_length(self, axis: int, kernel: int) -> int | None:
        """Length of the output along an axis, None where that of the input is not known."""
        length = self.lengths[axis]
        return None if length is None else (length + self.reach(axis, kernel) - 1) // self.strides[axis] + 1

    def offsets(self, axis: int, kernel: int) -> range:
        """The places that output 0 reads along an axis, counted from place 0 of the input."""
        first, step = -self.before[axis], self.dilations[axis]
        return range(first, first + step * kernel, step)


def one_place(like: Window) -> Window:
    """The window of a kernel that reads the place that it writes, over the axes of another."""
    ones, zeros = (1,) * len(like.strides), (0,) * len(like.strides)
    return replace(like, strides=ones, dilations=ones, before=zeros, behind=zeros)
