"""The bodies of If, Loop and Scan: each is a model that reads its inputs and what it captures.

A branch that no sample takes is compared like any other.
"""

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

import numpy as np

from bnfold.verifier.compare.channels import Array
from bnfold.verifier.local.closeups.closeup import Closeup, Place, feeds_of
from bnfold.verifier.local.closeups.extract import Extract
from bnfold.verifier.local.closeups.nodes import same_inputs, single_nodes
from bnfold.verifier.models.graph import bodies, is_standard
from bnfold.verifier.models.matching import attributes

if TYPE_CHECKING:
    from onnx import GraphProto, NodeProto


def closeups_of_bodies(place: Place) -> Iterator[Closeup]:
    """Of each body in which two nodes differ that are alike otherwise."""
    nodes = single_nodes(place)
    if nodes is None or not any(bodies(nodes[0])):
        return
    ours, theirs = nodes
    if _without_bodies(ours) != _without_bodies(theirs) or not same_inputs(place, ours, theirs):
        return
    for a, b in zip(_in_order(ours), _in_order(theirs), strict=True):
        fed = _fed(ours, a, place)
        if fed is not None and _inputs(a) == _inputs(b):
            yield from _closeup(place, a, b, fed)


def _closeup(place: Place, a: "GraphProto", b: "GraphProto", fed: Mapping[str, Array]) -> Iterator[Closeup]:
    ours, theirs = Extract(place.original, a.node, a.initializer), Extract(place.new, b.node, b.initializer)
    feeds = feeds_of(ours.open - fed.keys(), theirs.open - fed.keys(), place.values)
    outputs, others = _made(ours, a), _made(theirs, b)
    if feeds is not None and outputs and others:
        feeds.update(fed)
        yield Closeup(ours.model(feeds, outputs), theirs.model(feeds, others), feeds)


def _made(extract: Extract, body: "GraphProto") -> list[str]:
    """The outputs of a body that are no inputs or captures."""
    return [entry.name for entry in body.output if entry.name in extract.makes]


def _without_bodies(node: "NodeProto") -> tuple[str, str, list[bytes]]:
    """What a node is, but for its graphs."""
    from onnx import NodeProto

    plain = [entry for entry in node.attribute if not entry.HasField("g")]
    return node.domain, node.op_type, attributes(NodeProto(attribute=plain))


def _in_order(node: "NodeProto") -> "list[GraphProto]":
    """The bodies by the names of their attributes."""
    return [entry.g for entry in sorted(node.attribute, key=lambda entry: str(entry.name)) if entry.HasField("g")]


def _inputs(body: "GraphProto") -> list[str]:
    return [entry.name for entry in body.input]


def _fed(node: "NodeProto", body: "GraphProto", place: Place) -> dict[str, Array] | None:
    """Values for a body's inputs as its first turn meets them; None where they are not known.

    Source: ONNX Loop-1 to -25, Scan-9 to -25.
    """
    if not is_standard(node):
        return None
    names = _inputs(body)
    if node.op_type == "If":
        return {}
    if node.op_type == "Loop":
        states = [_value(place, name) for name in node.input[2:]]
        turn = [np.zeros((), np.int64), np.ones((), np.bool_)]
        return _named(names, [*turn, *states])
    if node.op_type == "Scan":
        return _named(names, _first_slices(node, [_value(place, name) for name in node.input]))
    return None


def _named(names: list[str], values: list[Array | None]) -> dict[str, Array] | None:
    if len(names) != len(values) or any(value is None for value in values):
        return None
    return {name: value for name, value in zip(names, values, strict=True) if value is not None}


def _value(place: Place, name: str) -> Array | None:
    if name in place.values:
        return place.values[name]
    return None if place.original.parameter(name) is None else place.original.array(name)


def _first_slices(node: "NodeProto", values: list[Array | None]) -> list[Array | None]:
    """The states as they are, and the first slice of each tensor that is scanned."""
    given = {attribute.name: attribute for attribute in node.attribute}
    scanned = given["num_scan_inputs"].i
    axes = list(given["scan_input_axes"].ints) if "scan_input_axes" in given else [0] * scanned
    states = len(values) - scanned
    return [
        *values[:states],
        *(None if value is None else _first(value, axis) for value, axis in zip(values[states:], axes, strict=True)),
    ]


def _first(values: Array, axis: int) -> Array | None:
    return np.take(values, 0, axis) if values.shape[axis] else None
