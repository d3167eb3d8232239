"""Operators that are linear on one side only, and absorb maps there."""

from dataclasses import dataclass
from functools import cached_property

from bnfold.affine import Affine, Array
from bnfold.semantics.absorber import Absorber, largest


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
        return largest(self.affine.scale)


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
        return largest(self.values)


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
        return largest(self.weight)


@dataclass(frozen=True, eq=False)
class RuntimeContraction:
    """A convolution or product whose weight is computed at run time, such as one that a style modulates.

    Equation: y = w x + b
    Symbols:  x: (N, C, *places), y: (N, M, *places), or with the channels on another axis; w: M on one axis; b: (M,)
    Source:   ONNX Conv-22, ConvTranspose-22, Gemm-13; Karras et al. 2020, https://arxiv.org/abs/1912.04958

    Attributes:
        bias: b, or None where the node has none.
        channels: M, None where that is not known before run time.
        rank: of y.
        axis: of y that holds the channels.
        weight: index of the input that holds w; None where no node makes it, which could take a scale.
        weight_rank: of w.
        weight_axis: of w that holds the channels.
        why: what was seen of the weight.
    """

    bias: Array | None
    channels: int | None
    rank: int
    axis: int
    weight: int | None
    weight_rank: int
    weight_axis: int
    why: str
