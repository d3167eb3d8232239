"""What a node means, free of any file format.

Frontends decode nodes to these values: attribute defaults, versions, layouts and spellings all end here. Whatever a
frontend does not fully understand is `Opaque`. Parameters are float64 and exact: rounding happens once, on writing.
"""

from dataclasses import dataclass
from enum import Enum
from typing import TypeAlias

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


class Form(Enum):
    """What the parameters of an affine node can express."""

    SCALE_AND_SHIFT = "BatchNormalization"
    SCALE = "Mul or Div by a constant"
    SHIFT = "Add or Sub of a constant"


@dataclass(frozen=True, eq=False)
class AffineMap:
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


@dataclass(frozen=True, eq=False)
class Contraction:
    """y = contract(x, weight) + bias: Conv, ConvTranspose, Gemm, MatMul with a constant.

    Attributes:
        weight: (groups, outputs per group, inputs per group, *kernel). Output channel g * outputs + o of y is made by
            weight[g, o], from the input channels g * inputs to (g + 1) * inputs - 1.
        bias: of the rank of y, broadcastable against it, or None where the node has none.
        output_rank: rank of y.
        output_axis: axis of y that holds the output channels.
        input_axis: axis of x that holds the input channels.
        holds_bias: whether the node can take a bias if it has none, without another node.
        why_no_shift: why a shift of x would not reach every place of y in full, such as zero padding; "" if it does.
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
    why_no_shift: str = ""
    source: int = 0
    window: Window | None = None

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
        shift_factor: k, or None where no shift passes.
        why_no_shift: said where a shift does not pass.
    """

    rank: int
    mixed_axes: tuple[int, ...] = ()
    removed_axes: tuple[int, ...] = ()
    needs_non_negative_scale: bool = False
    shift_factor: float | None = 1.0
    why_no_shift: str = ""
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
    """

    axis: int
    rank: int
    sizes: tuple[int | None, ...]
    steps: tuple[Step, ...] = ()


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
class Normalisation:
    """y = scale * n(x) + shift, where n fixes mean and variance at run time: instance, group and layer norm.

    Attributes:
        affine: scale and shift, of the rank of y.
        axes: the axes of y along which they may vary.
    """

    affine: Affine
    axes: tuple[int, ...]


@dataclass(frozen=True, eq=False)
class Embedding:
    """y = values[i]: rows of a constant table, looked up at run time.

    Attributes:
        values: the table.
        axis: of the table that the index walks.
        index_rank: rank of the index, whose axes replace `axis` in y.
    """

    values: Array
    axis: int
    index_rank: int


@dataclass(frozen=True, eq=False)
class Recurrent:
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


Meaning: TypeAlias = (
    Opaque
    | AffineMap
    | Contraction
    | Commuting
    | Rearrangement
    | Concatenation
    | Split
    | Sum
    | Product
    | Normalisation
    | Embedding
    | Recurrent
)
