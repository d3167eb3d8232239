"""Every list of nodes in a model."""

from collections.abc import Iterator, MutableSequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from onnx import GraphProto, ModelProto, NodeProto


def bodies(node: "NodeProto") -> "Iterator[GraphProto]":
    """The graphs in a node's attributes."""
    for attribute in node.attribute:
        if attribute.HasField("g"):
            yield attribute.g
        yield from attribute.graphs


def node_lists(model: "ModelProto") -> "Iterator[MutableSequence[NodeProto]]":
    """The nodes of the graph, of its functions, and of all bodies; those of a body before those around it."""
    for nodes in (model.graph.node, *(function.node for function in model.functions)):
        yield from _with_bodies(nodes)


def _with_bodies(nodes: "MutableSequence[NodeProto]") -> "Iterator[MutableSequence[NodeProto]]":
    for node in nodes:
        for body in bodies(node):
            yield from _with_bodies(body.node)
    yield nodes
