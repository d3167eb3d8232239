"""Why the rank of a tensor is not known before run time: the node that does not say it, or the input that has none."""

from bnfold.frontends.common.undecodable import Undecodable
from bnfold.frontends.onnx.constants import INLINE_FUNCTIONS
from bnfold.frontends.onnx.graph import OnnxNode, OnnxValue
from bnfold.refusal import Reason

# So many nodes are looked at, or graphs of which no rank is known at all would be walked through for every node.
_FURTHEST = 200


def unknown_rank(value: OnnxValue) -> Undecodable:
    """What to say of a tensor of unknown rank; the hint is there only if it helps.

    Args:
        value: a tensor without a shape.
    """
    origin = _origin(value)
    start = f"the rank of {value.name!r} is not known before run time"
    node = origin.producer
    if node is not None and node.is_standard:
        return Undecodable(Reason.UNKNOWN_SHAPE, f"{start}: it is left open by {node.label!r} ({node.op})")
    if node is not None:
        made = f"made by {node.label!r} ({node.op}), which is not ONNX's own operator"
        if origin is value:
            return Undecodable(Reason.FOREIGN_DOMAIN, f"{value.name!r} is {made}")
        return Undecodable(Reason.UNKNOWN_SHAPE, f"{start}: {origin.name!r} is {made}")
    return Undecodable(Reason.UNKNOWN_SHAPE, *_of_input(start, origin))


def _of_input(start: str, origin: OnnxValue) -> tuple[str, str]:
    """Evidence and hint where the rank is missing from an input on."""
    scope = origin.scope
    where = f"{start}: {origin.name!r}, an input of {scope.label}, has no shape"
    if scope.is_function:
        return where, INLINE_FUNCTIONS
    if scope.parent is not None:
        return where, ""
    if any(entry.name == origin.name and entry.type.tensor_type.HasField("shape") for entry in scope.proto.input):
        return f"{start}: ONNX's shape inference gives this model up", ""
    return where, f"give input {origin.name!r} a shape, if only with symbolic dimensions"


def _origin(value: OnnxValue) -> OnnxValue:
    """The first tensor on the way up whose own node is to blame, or the input where the rank is missing."""
    for _ in range(_FURTHEST):
        source = None if value.producer is None else _unknown_source(value.producer)
        if source is None:
            break
        value = source
    return value


def _unknown_source(node: OnnxNode) -> OnnxValue | None:
    """The input whose unknown rank leaves that of the node's output open; None where the node itself does."""
    if not node.is_standard or node.traits.shaped_by_values:
        return None
    return next((value for value in node.inputs if value is not None and value.shape is None), None)
