"""What a node means, free of any file format.

Frontends decode nodes to these values: attribute defaults, versions, layouts and spellings all end here. Whatever a
frontend does not fully understand is `Opaque`. Parameters are float64 and exact: rounding happens once, on writing.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import TypeAlias

import numpy as np

from bnfold.affine import Affine, Array
from bnfold.rearrange import Step
from bnfold.refusal import Reason
from bnfold.window import Window


@dataclass(frozen=True)
class Opaque:
    """A node that no map may pass, and why.

    Attributes:
        reason: the code that a refusal will carry.
        evidence: what was seen at this node.
        hint: what a person could change; empty where nothing helps.
    """

    reason: Reason
    evidence: str
    hint: str = ""


@dataclass(frozen=True)
class NoShift:
    """A shift of the input does not come out alike at every place of the output.

    Attributes:
        why: what keeps it from that, such as zero padding.
    """

    why: str


class Absorber(ABC):
    """A meaning with parameters that take maps in. What the engine asks of them, every absorber must answer."""

    @property
    @abstractmethod
    def absorbs_output(self) -> bool:
        """Whether a map behind the node ends in its parameters, whatever map it is, and moves on nowhere."""

    @property
    @abstractmethod
    def largest_factor(self) -> float:
        """The largest absolute value of the parameters that a scale is multiplied into; 0 without any."""

    @property
    def needs_node_for_bias(self) -> bool:
        """Whether a shift in front of the node could only be taken by another node behind it."""
        return False


def _largest(values: Array) -> float:
    return float(np.abs(values).max(initial=0.0))


class Form(Enum):
    """What the parameters of an affine node can express."""

    SCALE_AND_SHIFT = "BatchNormalization"
    SCALE = "Mul or Div by a constant"
    SHIFT = "Add or Sub of a constant"


@dataclass(frozen=True, eq=False)
class AffineMap(Absorber):
    """y = scale * x + shift: a BatchNorm in inference, or a Mul, Add, Sub or Div by a constant.

    Attributes:
        affine: the map, of the rank of x. A node of form SHIFT has a scale of 1 or -1 that it cannot change.
        form: which part of the map the node's parameters can express.
        source: index of the input that holds x.
        channel_axis: the one axis along which the parameters may vary, or None where any axis may.
    """

    affine: Affine
    form: Form
    source: int = 0
    channel_axis: int | None = None

    @property
    def absorbs_output(self) -> bool:
        """A scale passes an addition."""
        return False

    @property
    def largest_factor(self) -> float:
        """See Absorber."""
        return _largest(self.affine.scale)

    @property
    def constant_size(self) -> int:
        """How many numbers the node's constant has at least."""
        return int(max(self.affine.scale.size, self.affine.shift.size))


@dataclass(frozen=True, eq=False)
class Contraction(Absorber):
    """y = contract(x, weight) + bias: Conv, ConvTranspose, Gemm, MatMul with a constant.

    Attributes:
        weight: (groups, outputs per group, inputs per group, *kernel). Output channel g * outputs + o of y is made by
            weight[g, o], from the input channels g * inputs to (g + 1) * inputs - 1.
        bias: of the rank of y, broadcastable against it, or None where the node has none.
        output_rank: rank of y.
        output_axis: axis of y that holds the output channels.
        input_axis: axis of x that holds the input channels.
        holds_bias: whether the node can take a bias if it has none, without another node.
        no_shift: what keeps a shift of x from every place of y, such as zero padding; None where it gets there.
        source: index of the input that holds x.
        window: where the kernel lies, over the axes that follow that of the channels; None where that is not known
            before run time, or the operator does not slide a kernel over x.
    """

    weight: Array
    bias: Array | None
    output_rank: int
    output_axis: int
    input_axis: int = 1
    holds_bias: bool = True
    no_shift: NoShift | None = None
    source: int = 0
    window: Window | None = None

    @property
    def absorbs_output(self) -> bool:
        """See Absorber."""
        return True

    @property
    def largest_factor(self) -> float:
        """See Absorber."""
        return _largest(self.weight)

    @property
    def needs_node_for_bias(self) -> bool:
        """Whether it has no bias and no room for one."""
        return self.bias is None and not self.holds_bias

    @property
    def output_channels(self) -> int:
        """Length of the output axis."""
        return int(self.weight.shape[0] * self.weight.shape[1])

    @property
    def input_channels(self) -> int:
        """Length of the input axis."""
        return int(self.weight.shape[0] * self.weight.shape[2])


@dataclass(frozen=True, eq=False)
class Commuting:
    """y = f(x) with f(s * x + t) == s * f(x) + k * t: activations, pooling, padding, resampling, reductions.

    Attributes:
        rank: of x.
        mixed_axes: axes of x along which f mixes values, so that the map must be constant along them.
        removed_axes: those of the mixed axes that y does not have any more.
        needs_non_negative_scale: whether the law holds for s >= 0 only.
        shift_factor: k, or why there is none.
    """

    rank: int
    mixed_axes: tuple[int, ...] = ()
    removed_axes: tuple[int, ...] = ()
    needs_non_negative_scale: bool = False
    shift_factor: float | NoShift = 1.0
    source: int = 0


@dataclass(frozen=True)
class Padding:
    """y has the values of x, and one number at places around them.

    Attributes:
        rank: of x and y.
        axes: those along which there are places around.
        value: the number; 0 is better read as `Commuting`, whose law does not make a number of it.
        source: index of the input that holds x.
    """

    rank: int
    axes: tuple[int, ...]
    value: float
    source: int = 0


@dataclass(frozen=True, eq=False)
class Rearrangement:
    """y has the values of x in other places: one or more steps, first to last (bnfold.rearrange)."""

    steps: tuple[Step, ...]
    source: int = 0


@dataclass(frozen=True, eq=False)
class Concatenation:
    """y is its inputs one behind the other.

    Attributes:
        axis: of y, from 0.
        rank: of y.
        sizes: length of each input on that axis, None where it is not known before run time.
        steps: what is done to every input first; the axis, the rank and the sizes are of what that gives.
        constants: the values of those inputs that are constants, by index, which take maps themselves.
    """

    axis: int
    rank: int
    sizes: tuple[int | None, ...]
    steps: tuple[Step, ...] = ()
    constants: Mapping[int, Array] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Split:
    """Each output is a part of x.

    Attributes:
        axis: of x, from 0.
        rank: of x.
        parts: (start, stop) of each output on that axis.
        length: of x on that axis.
    """

    axis: int
    rank: int
    parts: tuple[tuple[int, int], ...]
    length: int
    source: int = 0


@dataclass(frozen=True)
class Operand:
    """One input of a sum or product.

    Attributes:
        aligned_shape: its shape with ones in front up to the rank of the result; None where a length is not known.
        rank: its own rank.
        sign: -1 where it is subtracted.
    """

    aligned_shape: tuple[int | None, ...]
    rank: int
    sign: float = 1.0


@dataclass(frozen=True)
class Sum:
    """y is a signed sum of tensors that are all computed at run time. rank: of y."""

    operands: tuple[Operand, ...]
    rank: int


@dataclass(frozen=True)
class Product:
    """y is a product of tensors that are all computed at run time. rank: of y."""

    operands: tuple[Operand, ...]
    rank: int


@dataclass(frozen=True, eq=False)
class Normalisation(Absorber):
    """y = scale * n(x) + shift, where n fixes mean and variance at run time: instance, group and layer norm.

    Attributes:
        affine: scale and shift, of the rank of y.
        axes: the axes of y along which they may vary.
    """

    affine: Affine
    axes: tuple[int, ...]

    @property
    def absorbs_output(self) -> bool:
        """See Absorber."""
        return True

    @property
    def largest_factor(self) -> float:
        """See Absorber."""
        return _largest(self.affine.scale)


@dataclass(frozen=True, eq=False)
class Embedding(Absorber):
    """y = values[i]: rows of a constant table, looked up at run time.

    Attributes:
        values: the table.
        axis: of the table that the index walks.
        index_rank: rank of the index, whose axes replace `axis` in y.
    """

    values: Array
    axis: int
    index_rank: int

    @property
    def absorbs_output(self) -> bool:
        """See Absorber."""
        return True

    @property
    def largest_factor(self) -> float:
        """See Absorber."""
        return _largest(self.values)


@dataclass(frozen=True, eq=False)
class Recurrent(Absorber):
    """An LSTM, GRU or RNN: only its input side is linear.

    Attributes:
        weight: (directions, gates * hidden, inputs).
        bias: (directions, gates * hidden), the input half, or None where the node has none.
        input_axis: axis of x that holds the inputs.
    """

    weight: Array
    bias: Array | None
    input_axis: int
    source: int = 0

    @property
    def absorbs_output(self) -> bool:
        """Gates are not linear."""
        return False

    @property
    def largest_factor(self) -> float:
        """See Absorber."""
        return _largest(self.weight)


Meaning: TypeAlias = (
    Opaque
    | AffineMap
    | Contraction
    | Commuting
    | Padding
    | Rearrangement
    | Concatenation
    | Split
    | Sum
    | Product
    | Normalisation
    | Embedding
    | Recurrent
)
