"""Shapes that follow from one node alone, beyond what ONNX infers: with any other shape, the node could not run.

They are the `tell_output_shape` and `tell_input_shape` of rows. They return None where nothing follows; a length that
is not known is None.
"""

from bnfold.frontends.onnx.attributes import attribute
from bnfold.frontends.onnx.graph import OnnxNode, OnnxValue, Shape


def convolved(node: OnnxNode) -> Shape | None:
    """Output of a Conv: (?, M, ?, ...), M from the weight (M, C / group, *kernel)."""
    weight = _input_shape(node, 1)
    return None if weight is None or len(weight) < 3 else (None, weight[0], *(None,) * (len(weight) - 2))


def transpose_convolved(node: OnnxNode) -> Shape | None:
    """Output of a ConvTranspose: (?, M, ?, ...), M from the weight (C, M / group, *kernel)."""
    weight = _input_shape(node, 1)
    if weight is None or len(weight) < 3 or not isinstance(weight[1], int):
        return None
    return (None, weight[1] * attribute(node, "group", 1), *(None,) * (len(weight) - 2))


def multiplied(node: OnnxNode, matrix: int = 1) -> Shape | None:
    """Output of a Gemm: (?, N), N from the matrix on the right, which is the input `matrix`."""
    weight = _input_shape(node, matrix)
    if weight is None or len(weight) != 2:
        return None
    return (None, weight[0 if attribute(node, "transB", 0) else 1])


def times_matrix(node: OnnxNode) -> Shape | None:
    """Output of a product with a matrix (K, N) on the right: that of the first input, N at its end.

    Of two stacks of matrices, either of which may be transposed, one matrix for each place of the stacks.
    """
    left, right = _input_shape(node, 0), _input_shape(node, 1)
    if left is None or right is None or not left or len(right) < 2 or (len(left) == 1 and len(right) > 2):
        return None
    if any(attribute(node, name, 0) for name in ("transBatchA", "transBatchB")):
        return None
    columns = right[-2 if attribute(node, "transB", 0) else -1]
    if len(left) == 1:
        return (columns,)
    return (*_broadcast(left[:-2], right[:-2]), left[-1 if attribute(node, "transA", 0) else -2], columns)


def normalised(node: OnnxNode) -> Shape | None:
    """Output of a BatchNormalization: that of the input, with as many channels as its scale has numbers."""
    shape, scale = _input_shape(node, 0), _input_shape(node, 1)
    if shape is None or scale is None or len(shape) < 2:
        return shape
    return (shape[0], *scale, *shape[2:])


def like_first_input(node: OnnxNode) -> Shape | None:
    """Output of an operator that keeps the shape of its first input."""
    return _input_shape(node, 0)


def of_same_rank(node: OnnxNode) -> Shape | None:
    """Output of an operator that keeps the rank of its first input."""
    shape = _input_shape(node, 0)
    return None if shape is None else (None,) * len(shape)


def pooled(node: OnnxNode) -> Shape | None:
    """Output of a pooling: batch and channels of the input, all places unknown."""
    shape = _input_shape(node, 0)
    if shape is None or len(shape) < 3:
        return shape
    places = (None,) * (len(shape) - 2)
    last = attribute(node, "channels_last", 0)  # of poolings of com.microsoft
    return (shape[0], *places, shape[-1]) if last else (*shape[:2], *places)


def broadcast(node: OnnxNode, other: int = 1) -> Shape | None:
    """Output of an operator that broadcasts: the first input with the input `other`."""
    first, second = _input_shape(node, 0), _input_shape(node, other)
    return None if first is None or second is None else _broadcast(first, second)


def _broadcast(first: Shape, second: Shape) -> Shape:
    rank = max(len(first), len(second))
    pairs = zip((1,) * (rank - len(first)) + first, (1,) * (rank - len(second)) + second, strict=True)
    return tuple(_broadcast_dimension(*pair) for pair in pairs)


def _broadcast_dimension(first: int | str | None, second: int | str | None) -> int | str | None:
    if first == second:
        return first
    known = [length for length in (first, second) if isinstance(length, int) and length != 1]
    return known[0] if known else None


def reshaped(node: OnnxNode) -> Shape | None:
    """Output of a Reshape: as many axes as the target has numbers, all of unknown length."""
    target = _input_shape(node, 1)
    if target is None or len(target) != 1 or not isinstance(target[0], int):
        return None
    return (None,) * target[0]


def to_be_convolved(node: OnnxNode) -> Shape | None:
    """First input of a Conv or a ConvTranspose: of the rank of the weight."""
    weight = _input_shape(node, 1)
    return None if weight is None or len(weight) < 3 else (None,) * len(weight)


def to_be_multiplied(_node: OnnxNode) -> Shape:
    """First input of a Gemm: of rank 2."""
    return (None, None)


def like_first_output(node: OnnxNode) -> Shape | None:
    """First input of an operator that keeps the rank: all lengths unknown, since they may be broadcast."""
    shape = node.outputs[0].shape if node.outputs and node.outputs[0] is not None else None
    return None if shape is None else (None,) * len(shape)


def _input_shape(node: OnnxNode, slot: int) -> Shape | None:
    value: OnnxValue | None = node.inputs[slot] if slot < len(node.inputs) else None
    return None if value is None else value.shape
