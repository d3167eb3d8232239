"""Functions that maps pass: activations, pooling, padding, resampling, reductions."""

from collections.abc import Callable
from dataclasses import dataclass

from bnfold.affine import Array


@dataclass(frozen=True)
class NoShift:
    """A shift of the input does not come out alike at every place of the output.

    Attributes:
        why: what keeps it from that, such as zero padding.
    """

    why: str


@dataclass(frozen=True, eq=False)
class Commuting:
    """A function that maps pass: activations, pooling, padding with zeros, resampling, reductions.

    Equation: y = f(x) with f(s * x + t) == s * f(x) + k * t
    Symbols:  x: (d_1, ..., d_r); s, t: (1 or d_1, ..., 1 or d_r), of length 1 on the axes that f mixes; k: a number
    Source:   ONNX Relu-14, LeakyRelu-16, PRelu-16, Abs-13, Neg-13, MaxPool-22, AveragePool-22, ReduceMean-18,
              ReduceSum-13, ReduceMax-20, Pad-25, Resize-19

    Attributes:
        rank: of x.
        mixed_axes: axes of x along which f mixes values, so that the map must be constant along them.
        removed_axes: those of the mixed axes that y does not have any more.
        needs_non_negative_scale: whether the law holds for s >= 0 only.
        shift_factor: k, or why there is none.
        of_constants: f itself, where it works on every number by itself: a channel with scale 0 is a constant, and f of
            it as well.
    """

    rank: int
    mixed_axes: tuple[int, ...] = ()
    removed_axes: tuple[int, ...] = ()
    needs_non_negative_scale: bool = False
    shift_factor: float | NoShift = 1.0
    source: int = 0
    of_constants: Callable[[Array], Array] | None = None


@dataclass(frozen=True)
class Padding:
    """Padding with one number.

    Equation: y[p] = x[p - b] where that is a place of x, else c
    Symbols:  x, y: of rank r; b: places in front of x along each axis; c: a number
    Source:   ONNX Pad-25

    Attributes:
        rank: of x and y.
        axes: those along which there are places around.
        value: c; 0 is better read as `Commuting`, whose law does not make a number of it.
        source: index of the input that holds x.
    """

    rank: int
    axes: tuple[int, ...]
    value: float
    source: int = 0
