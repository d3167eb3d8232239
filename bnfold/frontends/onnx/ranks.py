"""Ranks that single operators give away, where ONNX's inference knows nothing.

That is the case in model-local functions, whose inputs have no type, behind graph inputs without a shape, behind
operators of other domains, and behind a Reshape whose target is computed.
"""

from collections.abc import Callable, Iterator

from bnfold.frontends.onnx.attributes import ReferenceAttributeError, attribute
from bnfold.frontends.onnx.constants import OnnxConstants
from bnfold.frontends.onnx.graph import GraphIndex, OnnxNode, OnnxValue, Shape
from bnfold.frontends.onnx.shapes import infer_shapes
from bnfold.refusal import Refusal

# What one round finds out, inference carries on, and that may open the next operator.
_MOST_ROUNDS = 8


def complete_shapes(index: GraphIndex, constants: OnnxConstants) -> None:
    """Set the shape of tensors that inference left without one, as far as single operators tell.

    What they tell is no guess: the graph could not run otherwise.
    """
    for _ in range(_MOST_ROUNDS):
        learned = [*_forward(index, constants), *_backward(index)]
        if not any(value.shape is None for node in index.nodes() for value in node.outputs if value is not None):
            return
        if not learned:
            return
        infer_shapes(index, learned)


def _forward(index: GraphIndex, constants: OnnxConstants) -> Iterator[OnnxValue]:
    """Tensors of which the operator that makes them says more than was known."""
    for node in index.nodes():
        output = node.outputs[0] if node.outputs else None
        if output is None or not node.is_standard or (output.shape is not None and not node.is_batch_norm):
            continue
        before = output.shape
        try:
            output.shape = _RULES.get(node.proto.op_type, _unknown)(node)
        except ReferenceAttributeError:
            continue
        if output.shape is None and constants.is_fixed(output):
            # Only where no rule answers: reading every link of a chain would read its first tensor as many times.
            values = constants.read(output)
            output.shape = None if isinstance(values, Refusal) else values.shape
        if before is None and output.shape is not None:
            yield output


def _backward(index: GraphIndex) -> Iterator[OnnxValue]:
    """Tensors of which an operator that reads them says what they must be."""
    for node in reversed(list(index.nodes())):
        source = node.inputs[0] if node.inputs else None
        if source is None or source.shape is not None or not node.is_standard:
            continue
        try:
            source.shape = _DEMANDS.get(node.proto.op_type, _unknown)(node)
        except ReferenceAttributeError:
            continue
        if source.shape is not None:
            yield source


def _unknown(_node: OnnxNode) -> None:
    return None


def _convolved(node: OnnxNode) -> Shape | None:
    weight = _input_shape(node, 1)
    return None if weight is None or len(weight) < 3 else (None, weight[0], *(None,) * (len(weight) - 2))


def _transpose_convolved(node: OnnxNode) -> Shape | None:
    weight = _input_shape(node, 1)
    if weight is None or len(weight) < 3 or not isinstance(weight[1], int):
        return None
    return (None, weight[1] * attribute(node, "group", 1), *(None,) * (len(weight) - 2))


def _product(node: OnnxNode) -> Shape | None:
    weight = _input_shape(node, 1)
    if weight is None or len(weight) != 2:
        return None
    return (None, weight[0 if attribute(node, "transB", 0) else 1])


def _normalised(node: OnnxNode) -> Shape | None:
    shape, scale = _input_shape(node, 0), _input_shape(node, 1)
    if shape is None or scale is None or len(shape) < 2:
        return shape
    return (shape[0], *scale, *shape[2:])


def _same(node: OnnxNode) -> Shape | None:
    return _input_shape(node, 0)


def _pooled(node: OnnxNode) -> Shape | None:
    shape = _input_shape(node, 0)
    return shape if shape is None else (*shape[:2], *(None,) * (len(shape) - 2))


def _broadcast(node: OnnxNode) -> Shape | None:
    first, second = _input_shape(node, 0), _input_shape(node, 1)
    if first is None or second is None:
        return None
    rank = max(len(first), len(second))
    pairs = zip((1,) * (rank - len(first)) + first, (1,) * (rank - len(second)) + second, strict=True)
    return tuple(_broadcast_dimension(*pair) for pair in pairs)


def _broadcast_dimension(first: int | str | None, second: int | str | None) -> int | str | None:
    if first == second:
        return first
    known = [length for length in (first, second) if isinstance(length, int) and length != 1]
    return known[0] if known else None


def _reshaped(node: OnnxNode) -> Shape | None:
    """As many axes as the target has numbers, whatever these are."""
    target = _input_shape(node, 1)
    if target is None or len(target) != 1 or not isinstance(target[0], int):
        return None
    return (None,) * target[0]


def _to_be_convolved(node: OnnxNode) -> Shape | None:
    weight = _input_shape(node, 1)
    return None if weight is None or len(weight) < 3 else (None,) * len(weight)


def _to_be_multiplied(_node: OnnxNode) -> Shape:
    return (None, None)


def _like_the_output(node: OnnxNode) -> Shape | None:
    """Of operators that keep the rank; of a length that the output has, the input may have none of its own."""
    shape = node.outputs[0].shape if node.outputs and node.outputs[0] is not None else None
    return None if shape is None else (None,) * len(shape)


def _input_shape(node: OnnxNode, slot: int) -> Shape | None:
    value: OnnxValue | None = node.inputs[slot] if slot < len(node.inputs) else None
    return None if value is None else value.shape


_SHAPE_KEEPING = ("Cast", "CastLike", "Clip", "Dropout", "Elu", "HardSwish", "Identity", "Relu", "Sigmoid", "Tanh")

_RULES: dict[str, Callable[[OnnxNode], Shape | None]] = {
    **dict.fromkeys(("AveragePool", "GlobalAveragePool", "GlobalMaxPool", "MaxPool"), _pooled),
    **dict.fromkeys(("Add", "Div", "Mul", "Sub"), _broadcast),
    **dict.fromkeys(_SHAPE_KEEPING, _same),
    "BatchNormalization": _normalised,
    "Conv": _convolved,
    "ConvTranspose": _transpose_convolved,
    "Gemm": _product,
    "Reshape": _reshaped,
}

_DEMANDS: dict[str, Callable[[OnnxNode], Shape | None]] = {
    **dict.fromkeys(("AveragePool", "GlobalAveragePool", "GlobalMaxPool", "MaxPool"), _like_the_output),
    **dict.fromkeys(("BatchNormalization", *_SHAPE_KEEPING), _like_the_output),
    **dict.fromkeys(("Conv", "ConvTranspose"), _to_be_convolved),
    "Gemm": _to_be_multiplied,
}
