"""Wide parts, some channels at a time: a weight of a gigabyte is two in float64, and every move of its numbers as much.

What a part makes of one channel takes the rows of its last weight that make this channel, and one number of each
parameter per channel behind it. These are cut; what lies before them is made anew for every piece. The law judges
channel by channel, so the pieces say of theirs what the whole would.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import ceil
from typing import TYPE_CHECKING

from bnfold.verifier.compare.channels import Array
from bnfold.verifier.local.crop import ACTIVATIONS, ARITHMETIC, OF_SEVERAL
from bnfold.verifier.local.float64.evaluate import Float64Subgraph
from bnfold.verifier.models.graph import is_standard

if TYPE_CHECKING:
    from onnx import NodeProto

MOST_NUMBERS = 2**21
"""Stored ones of a piece: 16 MiB in float64. A part that has no more is looked at as it is."""
_CHANNELS = 1
_MATRIX = 2
_JOINING = (ACTIVATIONS | ARITHMETIC | OF_SEVERAL) - {"Clip"}


@dataclass(frozen=True)
class Cut:
    """What some places of one axis of what a part makes take of the tensors that it reads.

    Attributes:
        axis: which.
        size: how many places it has.
        axes: along which each tensor is cut that is not taken whole, by name.
    """

    axis: int
    size: int
    axes: Mapping[str, int]

    def of(self, values: Mapping[str, Array], places: slice | None) -> list[Array]:
        """Of each array what some places take; everything for None."""
        return [self._of(array, self.axes.get(name), places) for name, array in values.items()]

    @staticmethod
    def _of(array: Array, axis: int | None, places: slice | None) -> Array:
        if axis is None or places is None:
            return array
        where: tuple[slice, ...] = (*[slice(None)] * axis, places)
        return array[where]


WHOLE = Cut(_CHANNELS, 0, {})
"""Nothing is cut."""


def cut_alike(
    parts: tuple[Float64Subgraph, Float64Subgraph], shapes: Mapping[str, Sequence[int]]
) -> tuple[Cut, Cut] | None:
    """Where two parts are cut that make the same; None where one of them cannot be, or where it is not worth it.

    Args:
        parts: the parts.
        shapes: of the tensors that they begin with.
    """
    if max(map(_size, parts)) <= MOST_NUMBERS or len(set(map(len, shapes.values()))) != 1:
        return None
    rank = len(next(iter(shapes.values())))
    for axis in dict.fromkeys((_CHANNELS, rank - 1)) if rank > _CHANNELS else ():
        ours, theirs = (_cut(part, shapes, axis) for part in parts)
        if ours is not None and theirs is not None and ours.size == theirs.size and _begin_alike(ours, theirs, shapes):
            return ours, theirs
    return None


def pieces(parts: Iterable[Float64Subgraph], size: int) -> Iterator[slice]:
    """Places of an axis of a size, as many at a time as have no more numbers than MOST_NUMBERS."""
    step = ceil(size / ceil(max(map(_size, parts)) / MOST_NUMBERS))
    return (slice(begin, min(begin + step, size)) for begin in range(0, size, step))


def _size(part: Float64Subgraph) -> int:
    return sum(array.size for array in part.stored.values())


def _begin_alike(ours: Cut, theirs: Cut, begins: Iterable[str]) -> bool:
    return all(ours.axes.get(name) == theirs.axes.get(name) for name in begins)


def _cut(part: Float64Subgraph, shapes: Mapping[str, Sequence[int]], axis: int) -> Cut | None:
    """Where one part is cut; None where it is not, or where most of it would be left in every piece."""
    walk = _Walk(part, shapes)
    try:
        walk.back_from(part.output, axis)
    except _NotCutError:
        return None
    axes = {name: cut for name, cut in walk.taken.items() if cut is not None}
    whole = sum(array.size for name, array in part.stored.items() if name not in axes)
    if len(walk.sizes) != 1 or whole > MOST_NUMBERS:
        return None
    return Cut(axis, walk.sizes.pop(), axes)


class _NotCutError(Exception):
    """Nothing is known of what some places take."""


class _Walk:
    """From what a part makes back to all that some places of it take.

    Args:
        part: the part.
        shapes: of the tensors that it begins with. All that it makes has as many axes: no operator that is known here
            changes that.

    Attributes:
        taken: along which axis what is taken of each tensor is cut; None where it is taken whole.
        sizes: of the axes that are cut.
    """

    def __init__(self, part: Float64Subgraph, shapes: Mapping[str, Sequence[int]]) -> None:
        self._part, self._graph, self._shapes = part, part.graph, shapes
        self._rank = len(next(iter(shapes.values())))
        self.taken: dict[str, int | None] = {}
        self.sizes: set[int] = set()

    def back_from(self, output: str, axis: int) -> None:
        """Go back from some places of an axis."""
        self._take(output, axis)
        for index in reversed(self._part.nodes):
            node = self._graph.nodes[index]
            made = [name for name in node.output if name in self.taken]
            if made and self.taken[made[0]] is None:
                for name in self._graph.reads(index):
                    self._take(name, None)
            elif made:
                self._through(node, self.taken[made[0]] or 0)

    def _through(self, node: "NodeProto", axis: int) -> None:
        """Source: ONNX Conv-1 to -22, Gemm-1 to -13, MatMul-1 to -13, BatchNormalization-7 to -15."""
        inputs = list(node.input)
        attributes = {entry.name: entry.i for entry in node.attribute}
        if not is_standard(node) or len(node.output) != 1:
            raise _NotCutError
        match node.op_type:
            case "Conv" if axis == _CHANNELS and attributes.get("group", 1) == 1:
                self._take(inputs[0], None)
                self._cut_stored(inputs[1:], 0)
            case "Gemm" if axis == _CHANNELS:
                self._take(inputs[0], None)
                self._cut_stored(inputs[1:2], 0 if attributes.get("transB") else 1)
                self._join(inputs[2:], axis)
            case "MatMul" if axis == self._rank - 1:
                self._take(inputs[0], None)
                self._cut_stored(inputs[1:], 1, of_axes=_MATRIX)
            case "BatchNormalization" if axis == _CHANNELS:
                self._join(inputs[:1], axis)
                self._cut_stored(inputs[1:], 0)
            case "Clip":
                self._join(inputs[:1], axis)
                for name in filter(None, inputs[1:]):
                    self._take(name, None)
            case op_type if op_type in _JOINING:
                self._join(inputs, axis)
            case _:
                raise _NotCutError

    def _cut_stored(self, names: Iterable[str], axis: int, of_axes: int | None = None) -> None:
        for name in filter(None, names):
            tensor = self._graph.parameter(name)
            if tensor is None or len(tensor.dims) <= axis or (of_axes or len(tensor.dims)) != len(tensor.dims):
                raise _NotCutError
            self.sizes.add(int(tensor.dims[axis]))
            self._take(name, axis)

    def _join(self, names: Iterable[str], axis: int) -> None:
        """What is joined number by number has its axes from the last one on (ONNX, multidirectional broadcasting)."""
        for name in filter(None, names):
            shape = self._shape(name)
            own = axis if shape is None else axis - self._rank + len(shape)
            if shape is not None and len(shape) > self._rank:  # which makes more axes
                raise _NotCutError
            if shape is not None and (own < 0 or shape[own] == 1):
                self._take(name, None)
                continue
            if shape is not None:
                self.sizes.add(int(shape[own]))
            self._take(name, own)

    def _shape(self, name: str) -> Sequence[int] | None:
        """Of a stored tensor, or one that the part begins with."""
        tensor = self._graph.parameter(name)
        return self._shapes.get(name) if tensor is None else list(tensor.dims)

    def _take(self, name: str, axis: int | None) -> None:
        is_made_of_constants = name in self._graph.constants and self._graph.parameter(name) is None
        if self.taken.setdefault(name, axis) != axis or (axis is not None and is_made_of_constants):
            raise _NotCutError
