"""The target of a Reshape that a graph computes from shapes, such as torch's `x.view(x.size(0), -1)`.

ONNX's inference gives every computed length a new name, so that it no longer shows which lengths stay what they are.
"""

import math

from bnfold.frontends.onnx.attributes import attribute
from bnfold.frontends.onnx.constants import Constants
from bnfold.frontends.onnx.graph import Node, Shape, Value
from bnfold.refusal import Refusal

_KEEPS_ITS_NUMBER = ("Cast", "Identity", "Reshape", "Squeeze", "Unsqueeze")


def read_target(node: Node, source: Shape, constants: Constants) -> Shape | None:
    """The lengths that a Reshape gives its output, as far as they can be told; None where they cannot.

    Args:
        node: the Reshape.
        source: shape of its input.
        constants: of the model.
    """
    target = node.inputs[1] if len(node.inputs) > 1 else None
    if target is None or target.producer is None or target.producer.proto.op_type != "Concat":
        return None
    lengths: list[int | str | None] = []
    for part in target.producer.inputs:
        pieces = _numbers(part, constants) if part is not None else None
        if pieces is None:
            return None
        lengths += pieces
    if not attribute(node, "allowzero", 0):
        lengths = [source[place] if length == 0 else length for place, length in enumerate(lengths)]
    return _with_rest(source, lengths) if lengths.count(-1) == 1 else tuple(lengths)


def _numbers(value: Value, constants: Constants) -> list[int | str | None] | None:
    known = constants.read(value)
    if not isinstance(known, Refusal):
        return [int(number) for number in known.reshape(-1).tolist()]
    length = _length_read_by(value, constants)
    return None if length is None else [length]


def _length_read_by(value: Value, constants: Constants) -> int | str | None:
    """The length of some tensor that this number is: Gather of one place of a Shape."""
    node = value.producer
    while (
        node is not None and node.is_standard and node.proto.op_type in _KEEPS_ITS_NUMBER and node.inputs[0] is not None
    ):
        node = node.inputs[0].producer
    if node is None or not node.is_standard or node.proto.op_type != "Gather" or None in node.inputs[:2]:
        return None
    shape_of, index = node.inputs[:2]
    place = constants.read(index) if index is not None else None
    query = shape_of.producer if shape_of is not None else None
    if query is None or query.proto.op_type != "Shape" or query.inputs[0] is None or query.proto.attribute:
        return None
    shape = query.inputs[0].shape
    if shape is None or place is None or isinstance(place, Refusal) or place.size != 1:
        return None
    return shape[int(place.reshape(-1)[0])]


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
