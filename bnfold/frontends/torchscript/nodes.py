"""Walks over TorchScript graphs."""

from collections.abc import Iterator

import torch


def all_nodes(block: "torch._C.Graph | torch._C.Block") -> Iterator[torch._C.Node]:
    """All nodes of a graph in its order, those of blocks behind the node that holds them."""
    waiting = [iter(list(block.nodes()))]
    while waiting:
        node = next(waiting[-1], None)
        if node is None:
            waiting.pop()
            continue
        yield node
        waiting += [iter(list(inner.nodes())) for inner in reversed(list(node.blocks()))]
