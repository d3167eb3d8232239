"""Topological order of nodes. ONNX asks for it; onnxruntime also takes other orders, so files have them."""

from collections.abc import Iterator, MutableSequence, Sequence
from heapq import heapify, heappop, heappush
from typing import TYPE_CHECKING

from bnfold.intake.walk import bodies, node_lists

if TYPE_CHECKING:
    from onnx import ModelProto, NodeProto


def sort_nodes(model: "ModelProto") -> bool:
    """Sort the nodes of the graph, its bodies and functions topologically, in place, moving as few as possible.

    Returns:
        Whether any had to move. Nodes that read each other in a circle stay where they are.
    """
    return sum(map(_sort, node_lists(model))) > 0


def _sort(nodes: "MutableSequence[NodeProto]") -> bool:
    makers = {name: index for index, node in enumerate(nodes) for name in node.output if name}
    before = [{makers[name] for name in _reads(node) if name in makers} for node in nodes]
    if all(index > max(needed, default=-1) for index, needed in enumerate(before)):
        return False
    order = _ordered(before)
    if len(order) < len(nodes):
        return False
    copies = [type(node).FromString(node.SerializeToString()) for node in nodes]
    del nodes[:]
    nodes.extend(copies[index] for index in order)
    return True


def _ordered(before: Sequence[set[int]]) -> list[int]:
    """Indices, each after those before it, the smallest that can come first; not all of them if there is a circle."""
    behind: list[list[int]] = [[] for _ in before]
    for index, needed in enumerate(before):
        for earlier in needed:
            behind[earlier].append(index)
    missing = [len(needed) for needed in before]
    ready = [index for index, count in enumerate(missing) if not count]
    heapify(ready)
    order = []
    while ready:
        index = heappop(ready)
        order.append(index)
        for later in behind[index]:
            missing[later] -= 1
            if not missing[later]:
                heappush(ready, later)
    return order


def _reads(node: "NodeProto") -> Iterator[str]:
    """What a node reads, and what its bodies read or put out; their own names do no harm where they are other ones."""
    yield from node.input
    for body in bodies(node):
        own = {entry.name for entry in body.input} | {tensor.name for tensor in body.initializer}
        own |= {name for inner in body.node for name in inner.output}
        for inner in body.node:
            yield from (name for name in _reads(inner) if name not in own)
        yield from (entry.name for entry in body.output if entry.name not in own)
