"""Linear operators over channels, whose weights absorb maps on both sides."""

from dataclasses import dataclass
from functools import cached_property

from bnfold.affine import Array
from bnfold.semantics.absorber import Absorber
from bnfold.semantics.opaque import Opaque
from bnfold.semantics.passing import Commuting, NoShift
from bnfold.weight import Weight
from bnfold.window import Window


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
