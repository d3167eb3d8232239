"""How much of a tensor a part has to be run on: where it treats all places alike, a corner of it.

Convolutions, BatchNorms and what works number by number do the same at every place of an image. What is wrong in
their weights shows in a corner that is twice as long as what one output sees; its borders are padded like the image's.
"""

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from bnfold.verifier.compare.channels import Array
from bnfold.verifier.local.receptive_field import Window, windows
from bnfold.verifier.models.changed import Site
from bnfold.verifier.models.graph import Structure, is_standard
from bnfold.verifier.models.subgraph import TO_SINGLE

if TYPE_CHECKING:
    from onnx import NodeProto

_CONVOLUTIONS = frozenset(("Conv", "ConvTranspose"))
_ARITHMETIC = frozenset(("Abs", "Add", "Clip", "Div", "Exp", "Identity", "Mul", "Neg", "Sqrt", "Sub"))
_ACTIVATIONS = frozenset(("Elu", "HardSigmoid", "HardSwish", "LeakyRelu", "PRelu", "Relu", "Selu", "Sigmoid", "Tanh"))
# Enough of each channel to tell what is systematic.
_FEWEST_PLACES = 64
_BEFORE_THE_PLACES = 2


def corners(seen: Mapping[str, Array], sites: Sequence[Site], original: Structure, new: Structure) -> dict[str, Array]:
    """The tensors that parts begin with, each cut to a corner where all its parts treat places alike.

    Args:
        seen: the whole tensors, by name.
        sites: all sites that are fed with them.
        original: the original.
        new: the new model.

    Returns:
        Of each axis of places as much as the part that sees furthest needs; the others are whole.
    """
    needed: dict[str, list[int | None]] = {}
    for site in sites:
        for name in site.boundary:
            needed.setdefault(name, []).append(_side(site, seen[name].ndim, original, new))
    return {name: _corner(values, needed.get(name, [None])) for name, values in seen.items()}


def _corner(values: Array, sides: Sequence[int | None]) -> Array:
    known = [side for side in sides if side is not None]
    if len(known) < len(sides):
        return values
    cut = (slice(max(known)),) * (values.ndim - _BEFORE_THE_PLACES)
    return np.ascontiguousarray(values[(slice(None),) * _BEFORE_THE_PLACES + cut])


def _side(site: Site, rank: int, original: Structure, new: Structure) -> int | None:
    """How many places of each axis a site's parts need; None where they need all."""
    axes = rank - _BEFORE_THE_PLACES
    if len(site.boundary) != 1 or axes < 1:
        return None
    sides: list[int] = []
    outputs = math.ceil(math.pow(_FEWEST_PLACES, 1 / axes))
    for graph, part in ((original, site.original), (new, site.new)):
        seen = _windows(graph, part, axes)
        if seen is None:
            return None
        sides += [max(2 * window.length, window.length + window.stride * (outputs - 1)) for window in seen]
    return max(sides, default=outputs)


def _windows(graph: Structure, part: Sequence[int], axes: int) -> list[Window] | None:
    """What one output of a part sees of each axis.

    None where the part does not treat all places alike; and behind a second convolution, which may see little of what
    the first one makes of a corner.
    """
    nodes = [graph.nodes[index] for index in part if graph.nodes[index].output[0] not in graph.constants]
    convolutions = [node for node in nodes if node.op_type in _CONVOLUTIONS]
    if len(convolutions) > 1 or not all(_treats_places_alike(node, graph, axes) for node in nodes):
        return None
    weights = [graph.parameter(node.input[1]) for node in convolutions]
    pairs = zip(convolutions, weights, strict=True)
    return [window for node, weight in pairs if weight is not None for window in windows(node, weight)]


def _treats_places_alike(node: "NodeProto", graph: Structure, axes: int) -> bool:
    parameters = [graph.parameter(name) for name in node.input if name in graph.constants]
    if not is_standard(node) or any(tensor is None or tensor.data_type in TO_SINGLE for tensor in parameters):
        return False
    if node.op_type in _CONVOLUTIONS:
        own_size = any(attribute.name in ("output_shape", "auto_pad") for attribute in node.attribute)
        return not own_size and _has_one_variable(node, graph)
    if node.op_type == "BatchNormalization":
        return _has_one_variable(node, graph) and len(node.output) == 1
    return node.op_type in _ARITHMETIC | _ACTIVATIONS and all(
        tensor is not None and len(tensor.dims) <= axes + _BEFORE_THE_PLACES and set(tensor.dims[-axes:]) <= {1}
        for tensor in parameters
    )


def _has_one_variable(node: "NodeProto", graph: Structure) -> bool:
    """Whether all that a node reads but its first input is constant."""
    return node.input[0] not in graph.constants and all(name in graph.constants for name in node.input[1:] if name)
