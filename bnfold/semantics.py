"""What a node means, free of any file format.

Frontends decode nodes to these values: attribute defaults, versions, layouts and spellings all end here. Whatever a
frontend does not fully understand is `Opaque`. Parameters are float64 and exact: rounding happens once, on writing.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from functools import cached_property
from typing import TypeAlias

import numpy as np

from bnfold.affine import Affine, Array
from bnfold.rearrange import Step
from bnfold.refusal import Reason
from bnfold.weight import Weight
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
    """The largest absolute value, NaN where one is NaN; without a copy of them."""
    return float(np.maximum(values.max(initial=0.0), -values.min(initial=0.0)))


@dataclass(frozen=True, eq=False)
class Statistics:
    """What a norm knows of the values that it reads.

    Attributes:
        mean: (C,), in units of x.
        deviation: (C,), the root of variance + epsilon.
    """

    mean: Array
    deviation: Array


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
        statistics: of x, where the file has them; they are those of x as the file was read.
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
        return _largest(self.affine.scale)

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
        return _largest(self.values)


@dataclass(frozen=True, eq=False)
class Contraction(Absorber):
    """A linear operator over channels: Conv, ConvTranspose, Gemm, or MatMul and Einsum with a constant.

    Equation: y[n, g * O + o, p] = b[g * O + o, p] + sum over i < I and the kernel's places u of
              W[g, o, i, u] * x[n, g * I + i, q(p, u)]
    Symbols:  G groups, O outputs and I inputs of each; W: (G, O, I, *kernel); b: of the rank of y, every length 1 or
              that of y; x: (N, G * I, *places), y: (N, G * O, *places), with the channels on `input_axis` and
              `output_axis`; q(p, u): the place of x that `window` says, a place of zeros outside of x
    Source:   ONNX Conv-22, ConvTranspose-22, Gemm-13, MatMul-13, Einsum-12

    Attributes:
        weight: W.
        bias: b, or None where the node has none.
        output_rank: rank of y.
        output_axis: axis of y that holds the output channels.
        input_axis: axis of x that holds the input channels.
        holds_bias: whether the node can take a bias if it has none, without another node.
        no_shift: what keeps a shift of x from every place of y, such as zero padding; None where it gets there.
        source: index of the input that holds x.
        window: where the kernel lies, over the axes that follow that of the channels; None where that is not known
            before run time, or the operator does not slide a kernel over x.
    """

    weight: Weight
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

    @cached_property
    def largest_factor(self) -> float:
        """See Absorber."""
        return float(self.weight.rows.largest.max(initial=0.0))

    @property
    def needs_node_for_bias(self) -> bool:
        """Whether it has no bias and no room for one."""
        return self.bias is None and not self.holds_bias

    @property
    def output_channels(self) -> int:
        """Length of the output axis."""
        return self.weight.channels

    @property
    def input_channels(self) -> int:
        """Length of the input axis."""
        return self.weight.shape[0] * self.weight.shape[2]


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


@dataclass(frozen=True, eq=False)
class FusedContraction(Absorber):
    """A contraction and what follows it in the same node: another tensor is added, and an activation applied.

    Equation: y = f(contract(x) + z)
    Symbols:  x, y, z: tensors, z of the shape of y; contract: see Contraction
    Source:   com.microsoft FusedConv-1, FusedGemm-1, NhwcFusedConv-1

    Attributes:
        contraction: without what follows it.
        activation: f; None where there is none, Opaque where no map passes it.
        addend: index of the input that holds z, None where nothing is added.
    """

    contraction: Contraction
    activation: Commuting | Opaque | None = None
    addend: int | None = None

    @property
    def absorbs_output(self) -> bool:
        """Not all maps pass an activation, and a scale goes to z as well."""
        return self.activation is None and self.addend is None

    @property
    def largest_factor(self) -> float:
        """See Absorber."""
        return self.contraction.largest_factor

    @property
    def source(self) -> int:
        """Index of the input that holds x."""
        return self.contraction.source


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


@dataclass(frozen=True, eq=False)
class Rearrangement:
    """Data movement: y has the values of x in other places.

    Equation: y[p] = x[m(p)]
    Symbols:  x, y: of any ranks; m: from the places of y to those of x
    Source:   ONNX Transpose-25, Reshape-25, Flatten-25, Squeeze-25, Unsqueeze-25, Slice-13, Gather-13, Expand-13,
              DepthToSpace-13

    Attributes:
        steps: that m is made of, the first to act on x first (bnfold.rearrange).
        source: index of the input that holds x.
    """

    steps: tuple[Step, ...]
    source: int = 0


@dataclass(frozen=True, eq=False)
class Concatenation:
    """Tensors one behind the other.

    Equation: y = concat(x_0, ..., x_n), along one axis
    Symbols:  x_i: (d_1, ..., l_i, ..., d_r); y: (d_1, ..., l_0 + ... + l_n, ..., d_r)
    Source:   ONNX Concat-13; torch.stack

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
    """A tensor cut along one axis.

    Equation: y_i = x[..., start_i : stop_i, ...]
    Symbols:  x: (d_1, ..., l, ..., d_r); y_i: (d_1, ..., stop_i - start_i, ..., d_r)
    Source:   ONNX Split-18

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
    """A sum of tensors that are all computed at run time.

    Equation: y = e_0 * x_0 + ... + e_n * x_n
    Symbols:  e_i: 1 or -1; x_i: of any rank, aligned at their last axes and repeated to the shape of y
    Source:   ONNX Add-14, Sub-14, Sum-13

    Attributes:
        operands: x_i and e_i.
        rank: of y.
        of_one_tensor: whether all x_i are one tensor, which then takes one map.
    """

    operands: tuple[Operand, ...]
    rank: int
    of_one_tensor: bool = False


@dataclass(frozen=True)
class Product:
    """A product of tensors that are all computed at run time.

    Equation: y = x_0 * ... * x_n + b
    Symbols:  x_i: of any rank, aligned at their last axes and repeated to the shape of y; b: (1 or d_1, ..., 1 or d_r)
    Source:   ONNX Mul-14

    Attributes:
        operands: x_i.
        rank: of y.
        bias: b, which a shift becomes; None where there is none.
        takes_bias: whether it ends what computes a linear operator, of which b is the bias.
    """

    operands: tuple[Operand, ...]
    rank: int
    bias: Array | None = None
    takes_bias: bool = False


@dataclass(frozen=True)
class MatrixProduct:
    """A matrix product of two tensors that are computed at run time.

    Equation: y[..., i, j] = sum over k of x_0[..., i, k] * x_1[..., k, j]
    Symbols:  x_0: (..., n, k), x_1: (..., k, m), y: (..., n, m), all of one rank
    Source:   ONNX MatMul-13

    Attributes:
        operands: x_0 and x_1.
        rank: of all three.
        rows_sum_to_one: whether the rows of x_0 sum to 1, because it comes out of a softmax over its last axis.
    """

    operands: tuple[Operand, Operand]
    rank: int
    rows_sum_to_one: bool = False


@dataclass(frozen=True)
class Softmax:
    """A softmax, or its logarithm: f(x + t) == f(x) for t that is alike along the axes over which it is taken.

    Equation: y = exp(x) / sum of exp(x) over the axes
    Symbols:  x, y: (d_1, ..., d_r)
    Source:   ONNX Softmax-13, LogSoftmax-13

    Attributes:
        name: of the operator, for people.
        axes: over which it is taken, from 0.
        source: index of the input that holds x.
    """

    name: str
    axes: tuple[int, ...]
    source: int = 0


@dataclass(frozen=True)
class Masking:
    """Minus infinity in the place of some numbers, or added to them: what a softmax gives no weight.

    Equation: y = x + m, with m of minus infinity and finite numbers; y = x where the mask is true, else minus infinity
    Symbols:  x: aligned with y at its last axes, each length 1 or that of y; y: (d_1, ..., d_r)
    Source:   ONNX Add-14, Where-16

    Attributes:
        operand: x.
        rank: of y.
        source: index of the input that holds x.
    """

    operand: Operand
    rank: int
    source: int = 0


@dataclass(frozen=True)
class Attention:
    """Attention in one node: a softmax over keys, whose rows weigh values.

    Equation: y = softmax(q k' + mask) (v + b)
    Symbols:  q, y: (..., n, d), k, v: (..., m, d), with keys and values on the last axis but one, and batch and heads
              in front of it, if there are axes for them; b: (d,)
    Source:   ONNX Attention-23, -24, -25, com.microsoft MultiHeadAttention-1, torch.nn.functional.
              scaled_dot_product_attention

    Attributes:
        rank: of q, k, v and y.
        key: index of the input that holds k; None where more than the softmax sees what a shift on it adds.
        value: index of the input that holds v; None where what weighs it need not sum to 1.
        adds_bias: whether the node itself adds b, which no scale of v reaches.
        heads: axes of y in front of the last two, along each of which y has one place for every place of v.
    """

    rank: int
    key: int | None
    value: int | None
    adds_bias: bool = False
    heads: tuple[int, ...] = ()


@dataclass(frozen=True, eq=False)
class Normalisation(Absorber):
    """An instance, group or layer norm, whose statistics are those of what it reads.

    Equation: y = a * n(x) + b, where n(x) has mean 0 and variance 1 over some axes
    Symbols:  x, y: (d_1, ..., d_r); a, b: (1 or d_1, ..., 1 or d_r)
    Source:   ONNX InstanceNormalization-22, GroupNormalization-21, LayerNormalization-17; Ba et al. 2016,
              https://arxiv.org/abs/1607.06450; Wu and He 2018, https://arxiv.org/abs/1803.08494

    Attributes:
        affine: a and b.
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
    """Rows of a constant table, looked up at run time.

    Equation: y[p, j, q] = T[p, i[j], q]
    Symbols:  T: (*before, rows, *behind); i: whole numbers of any shape; y: (*before, *shape of i, *behind)
    Source:   ONNX Gather-13; torch.nn.Embedding

    Attributes:
        values: T.
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
    """An LSTM, GRU or RNN, or an attention with weights of its own, of which only the input side is linear.

    Equation: h_t = g(W x_t + b + R h_(t-1)), where g is what the gates do; attention(W x + b), without R
    Symbols:  x: (steps, batch, I) or (batch, steps, I); W: (directions, gates * hidden, I); b: (directions,
              gates * hidden); R: no part of the meaning
    Source:   ONNX LSTM-22, GRU-22, RNN-22, com.microsoft Attention-1

    Attributes:
        weight: W.
        bias: b, the input half of the node's, or None where the node has none.
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

    @cached_property
    def largest_factor(self) -> float:
        """See Absorber."""
        return _largest(self.weight)


Meaning: TypeAlias = (
    Opaque
    | AffineMap
    | BroadcastScale
    | Contraction
    | FusedContraction
    | Commuting
    | Padding
    | Rearrangement
    | Concatenation
    | Split
    | Sum
    | Product
    | MatrixProduct
    | Softmax
    | Masking
    | Attention
    | Normalisation
    | Embedding
    | Recurrent
)
