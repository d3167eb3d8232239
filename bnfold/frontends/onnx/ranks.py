"""Ranks that follow from single operators, where ONNX's inference knows nothing.

That is the case in model-local functions, whose inputs have no type, behind graph inputs without a shape, behind
operators of other domains, and behind a Reshape whose target is computed.
"""

from collections.abc import Callable, Iterator

import onnx

from bnfold.frontends.onnx.attributes import ReferenceAttributeError
from bnfold.frontends.onnx.constants import OnnxConstants
from bnfold.frontends.onnx.graph import GraphIndex, OnnxNode, OnnxValue, Shape
from bnfold.frontends.onnx.shapes import infer_shapes
from bnfold.frontends.onnx.told_types import told_type
from bnfold.refusal import Refusal

# What one round finds out, inference carries on, and that may open the next operator.
_MOST_ROUNDS = 32


def complete_shapes(index: GraphIndex, constants: OnnxConstants) -> None:
    """Set the shape and type of tensors that inference left without one, as far as single operators tell.

    What they tell is no guess: the graph could not run otherwise.
    """
    known: dict[OnnxValue, None] = {}
    for _ in range(_MOST_ROUNDS):
        learned = [*_forward(index, constants), *_backward(index)]
        if not learned or not any(value.shape is None for node in index.nodes() for value in node.outputs if value):
            return
        # With all that was learned before: inference forgets what it is not told again.
        known.update(dict.fromkeys(learned))
        infer_shapes(index, known)


def _forward(index: GraphIndex, constants: OnnxConstants) -> Iterator[OnnxValue]:
    """Tensors of which the operator that makes them says more than was known."""
    for node in index.nodes():
        for slot, value in enumerate(node.outputs):
            if value is not None and value.element_type == onnx.TensorProto.UNDEFINED:
                value.element_type = told_type(node, slot)
                if value.element_type != onnx.TensorProto.UNDEFINED and value.shape is not None:
                    yield value
        output = node.outputs[0] if node.outputs else None
        if output is None or (output.shape is not None and not node.is_batch_norm):
            continue
        before = output.shape
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


def _told(tell: Callable[[OnnxNode], Shape | None] | None, node: OnnxNode) -> Shape | None:
    return None if tell is None else tell(node)
