"""The target of a Reshape that a graph computes from shapes, such as torch's `x.view(x.size(0), -1)`.

ONNX's inference gives every computed length a new name, so that it no longer shows which lengths stay what they are.
"""

import math

from bnfold.frontends.onnx.attributes import attribute
from bnfold.frontends.onnx.constants import OnnxConstants
from bnfold.frontends.onnx.graph import OnnxNode, OnnxValue, Shape
from bnfold.refusal import Refusal

_Lengths = list[int | str | None]

# Exporters need a handful of operators to say a shape; a longer chain is no such thing.
_LONGEST_CHAIN = 50


def read_target(node: OnnxNode, source: Shape, constants: OnnxConstants) -> Shape | None:
    """The lengths that a Reshape gives its output, as far as they can be told; None where they cannot.

    Args:
        node: the Reshape.
        source: shape of its input.
        constants: of the model.
    """
    target = node.inputs[1] if len(node.inputs) > 1 else None
    if target is None or not isinstance(constants.read(target), Refusal):
        return None  # inference knows it
    lengths = _Reader(constants).lengths(target, _LONGEST_CHAIN)
    if lengths is None:
        return None
    if not attribute(node, "allowzero", 0):
        lengths = [
            source[place] if length == 0 and place < len(source) else length for place, length in enumerate(lengths)
        ]
    return _with_rest(source, lengths) if lengths.count(-1) == 1 else tuple(lengths)


class _Reader:
    """Reads vectors of lengths of which some are known only at run time."""

    def __init__(self, constants: OnnxConstants) -> None:
        self._constants = constants

    def lengths(self, value: OnnxValue | None, chain: int) -> _Lengths | None:
        """The numbers in a tensor of at most one axis; None where not even their count is known."""
        if value is None or not chain:
            return None
        known = self._constants.read(value)
        if not isinstance(known, Refusal):
            return [int(number) for number in known.reshape(-1).tolist()]
        node = value.producer
        if node is None or not node.is_standard:
            return None
        if node.traits.keeps_numbers:
            return self.lengths(node.inputs[0], chain - 1)
        match node.proto.op_type:
            case "Shape":
                return _queried(node)
            case "Concat":
                parts = [self.lengths(part, chain - 1) for part in node.inputs]
                return None if None in parts else [length for part in parts if part is not None for length in part]
            case "Gather":
                return self._picked(node, chain)
            case "Slice":
                return self._cut(node, chain)
        return None

    def _picked(self, node: OnnxNode, chain: int) -> _Lengths | None:
        source, places = self.lengths(node.inputs[0], chain - 1), self._integers(node, 1)
        if source is None or places is None or not all(-len(source) <= place < len(source) for place in places):
            return None
        return [source[place] for place in places]

    def _cut(self, node: OnnxNode, chain: int) -> _Lengths | None:
        """Of a vector, forward. Source: ONNX Slice-1, -10, -11, -13."""
        source = self.lengths(node.inputs[0], chain - 1)
        if len(node.inputs) > 1:
            starts, ends = self._integers(node, 1), self._integers(node, 2)
            steps = self._integers(node, 4) if len(node.inputs) > 4 and node.inputs[4] is not None else [1]
        else:
            starts, ends, steps = list(attribute(node, "starts", ())), list(attribute(node, "ends", ())), [1]
        if source is None or not starts or not ends or not steps or steps[0] < 1:
            return None
        return source[starts[0] : ends[0] : steps[0]]

    def _integers(self, node: OnnxNode, slot: int) -> list[int] | None:
        value = node.inputs[slot] if slot < len(node.inputs) else None
        known = None if value is None else self._constants.read(value)
        return None if known is None or isinstance(known, Refusal) else [int(n) for n in known.reshape(-1).tolist()]


def _queried(node: OnnxNode) -> _Lengths | None:
    """Source: ONNX Shape-1, -13, -15 to -25."""
    shape = node.inputs[0].shape if node.inputs[0] is not None else None
    return None if shape is None else list(shape[attribute(node, "start", 0) : attribute(node, "end", None)])


def _with_rest(source: Shape, lengths: list[int | str | None]) -> Shape | None:
    """Replace -1 by what the other lengths leave of the source."""
    left = list(source)
    rest = 1
    for length in lengths:
        if length == -1:
            continue
        if isinstance(length, str) and length in left:
            left.remove(length)
        elif isinstance(length, int):
            rest *= length
        else:
            return None
    numbers = [length for length in left if isinstance(length, int)]
    if len(numbers) < len(left) or rest == 0 or math.prod(numbers) % rest:
        return None
    return tuple(math.prod(numbers) // rest if length == -1 else length for length in lengths)
