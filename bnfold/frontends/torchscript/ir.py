"""TorchScript's own graph, under names for people: torch publishes no complete types for it."""

from collections.abc import Iterator
from typing import Any, TypeAlias

IrGraph: TypeAlias = Any
"""torch._C.Graph."""
IrBlock: TypeAlias = Any
"""torch._C.Block, or a graph."""
IrNode: TypeAlias = Any
"""torch._C.Node."""
IrValue: TypeAlias = Any
"""torch._C.Value."""
IrSchema: TypeAlias = Any
"""torch._C.FunctionSchema."""
ModuleObject: TypeAlias = Any
"""torch._C.ScriptModule: a module without the Python around it."""


def all_nodes(block: IrBlock) -> Iterator[IrNode]:
    """All nodes of a graph in its order, those of blocks behind the node that holds them."""
    waiting = [iter(list(block.nodes()))]
    while waiting:
        node = next(waiting[-1], None)
        if node is None:
            waiting.pop()
            continue
        yield node
        waiting += [iter(list(inner.nodes())) for inner in reversed(list(node.blocks()))]
