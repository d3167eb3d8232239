"""Values in other places: data movement, tensors put together, tensors cut."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from bnfold.affine import Array
from bnfold.rearrange import Step


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
    """Tensors one behind the other, of which some places may be shown in another order.

    Equation: y = concat(x_0, ..., x_n), along one axis
    Symbols:  x_i: (d_1, ..., l_i, ..., d_r); y: (d_1, ..., l_0 + ... + l_n, ..., d_r)
    Source:   ONNX Concat-13, ScatterND-18, ScatterElements-18; torch.stack

    Attributes:
        axis: of y, from 0.
        rank: of y.
        sizes: length of each input on that axis, None where it is not known before run time.
        steps: what is done to every input first; the axis, the rank and the sizes are of what that gives.
        constants: the values of those inputs that are constants, by index, which take maps themselves.
        behind: what is done to the whole; the equation, the axis, the rank and the sizes are of what goes in there.
        slots: which inputs of the node the x_i are, where they are not the first ones.
    """

    axis: int
    rank: int
    sizes: tuple[int | None, ...]
    steps: tuple[Step, ...] = ()
    constants: Mapping[int, Array] = field(default_factory=dict)
    behind: tuple[Step, ...] = ()
    slots: tuple[int, ...] = ()

    @property
    def inputs(self) -> Sequence[int]:
        """Which input of the node each x_i is."""
        return self.slots or range(len(self.sizes))


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
