"""What a node means, free of any file format.

Frontends decode nodes to these values: attribute defaults, versions, layouts and spellings all end here. Whatever a
frontend does not fully understand is `Opaque`. Parameters are float64 and exact: rounding happens once, on writing.
"""

from dataclasses import dataclass
from enum import Enum
from typing import TypeAlias

from bnfold.affine import Affine, Array
from bnfold.refusal import Reason


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
        holds_bias: whether the node can take a bias if it has none, without another node.
        source: index of the input that holds x.
    """

    weight: Array
    bias: Array | None
    output_rank: int
    output_axis: int
    holds_bias: bool = True
    source: int = 0

    @property
    def output_channels(self) -> int:
        """Length of the output axis."""
        return int(self.weight.shape[0] * self.weight.shape[1])


Meaning: TypeAlias = Opaque | AffineMap | Contraction
