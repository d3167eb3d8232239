"""BatchNorms and arithmetic with constants: the maps that move, as nodes."""

from dataclasses import dataclass
from enum import Enum

import numpy as np

from bnfold.affine import Affine, Array, PerChannel
from bnfold.semantics.absorber import Absorber, largest


@dataclass(frozen=True, eq=False)
class Statistics:
    """What a norm knows of the values that it reads.

    Attributes:
        mean: (C,), in units of x.
        variance: (C,), in units of x, squared.
        epsilon: what the norm adds to the variance.
    """

    mean: Array
    variance: Array
    epsilon: float

    @property
    def deviation(self) -> Array:
        """(C,), in units of x: by what the norm divides."""
        deviation: Array = np.sqrt(self.variance + self.epsilon)
        return deviation

    def moved(self, channels: PerChannel) -> "Statistics":
        """Those of x', where x = map(x'); of a channel that the map makes constant, x' is not known, and they stay.

        Law: deviation' = deviation / |scale|, as far as a variance of 0 allows that

        Args:
            channels: the map.
        """
        live = channels.scale != 0
        scale = np.where(live, channels.scale, 1.0)
        variance = np.maximum((self.deviation / scale) ** 2 - self.epsilon, 0.0)
        # Where the scale is 1, not by way of a root, which would lose the last digits.
        variance = np.where(np.abs(scale) == 1, self.variance, variance)
        return Statistics((self.mean - channels.shift) / scale, variance, self.epsilon)


class Form(Enum):
    """What the parameters of an affine node can express."""

    SCALE_AND_SHIFT = "BatchNormalization"
    SCALE = "Mul or Div by a constant"
    SHIFT = "Add or Sub of a constant"


@dataclass(frozen=True, eq=False)
class AffineMap(Absorber):
    """A BatchNorm in inference, or a Mul, Add, Sub or Div by a constant.

    Equation: y = s * x + t
    Symbols:  x, y: (d_1, ..., d_r); s, t: (1 or d_1, ..., 1 or d_r), float64
    Source:   ONNX BatchNormalization-15, Mul-14, Add-14, Sub-14, Div-14; Ioffe and Szegedy 2015,
              https://arxiv.org/abs/1502.03167

    Attributes:
        affine: the map, of the rank of x. A node of form SHIFT has a scale of 1 or -1 that it cannot change.
        form: which part of the map the node's parameters can express.
        source: index of the input that holds x.
        channel_axis: the one axis along which the parameters may vary, or None where any axis may.
        statistics: of x, where the file has them.
    """

    affine: Affine
    form: Form
    source: int = 0
    channel_axis: int | None = None
    statistics: Statistics | None = None

    @property
    def absorbs_output(self) -> bool:
        """A scale passes an addition."""
        return False

    @property
    def largest_factor(self) -> float:
        """See Absorber."""
        return largest(self.affine.scale)

    @property
    def constant_size(self) -> int:
        """How many numbers the node's constant has at least."""
        return int(max(self.affine.scale.size, self.affine.shift.size))


@dataclass(frozen=True, eq=False)
class BroadcastScale(Absorber):
    """A constant times a tensor that is broadcast along it: what is measured at run time, for each channel.

    Equation: y = c * x
    Symbols:  c: of the rank of y; x: of the same or a smaller rank, with length 1 along axes that c has
    Source:   ONNX Mul-14

    Attributes:
        values: c.
        source: index of the input that holds x.
    """

    values: Array
    source: int = 0

    @property
    def absorbs_output(self) -> bool:
        """A shift goes nowhere."""
        return False

    @property
    def largest_factor(self) -> float:
        """See Absorber."""
        return largest(self.values)
