"""Ranks that single operators give away, where ONNX's inference knows nothing.

That is the case in model-local functions, whose inputs have no type, behind graph inputs without a shape, behind
operators of other domains, and behind a Reshape whose target is computed.
"""

from collections.abc import Callable, Iterator

import onnx

from bnfold.frontends.onnx.attributes import ReferenceAttributeError
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
        if output is None or (output.shape is not None and not node.is_batch_norm):
            continue
        before = output.shape
        _tell_type(node, output)
        try:
            output.shape = _told(node.traits.tell_output_shape, node)
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
        if source is None or source.shape is not None:
            continue
        try:
            source.shape = _told(node.traits.tell_input_shape, node)
        except ReferenceAttributeError:
            continue
        if source.shape is not None:
            yield source


def _tell_type(node: OnnxNode, output: OnnxValue) -> None:
    slot = node.traits.type_of_input
    source = node.inputs[slot] if slot is not None and node.has_input(slot) else None
    if source is not None and output.element_type == onnx.TensorProto.UNDEFINED:
        output.element_type = source.element_type


def _told(tell: Callable[[OnnxNode], Shape | None] | None, node: OnnxNode) -> Shape | None:
    return None if tell is None else tell(node)
