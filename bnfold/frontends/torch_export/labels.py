"""What people call the operators of an exported program."""

import operator
from collections import Counter
from collections.abc import Mapping

import torch
from torch import fx

from bnfold.frontends.aten.node import Argument, AtenValue
from bnfold.frontends.common.fresh_names import fresh_name


class Labels:
    """What people call operators, by the module that called them: labels, each given once.

    Args:
        values: what is known of the nodes that were lifted so far.
    """

    def __init__(self, values: Mapping[fx.Node, Argument]) -> None:
        self._values = values
        self._paths: dict[fx.Node, str] = {}
        self._counts: dict[fx.Graph, Counter[str]] = {}
        self._taken: set[str] = set()

    def enter(self, graph: fx.Graph) -> None:
        """A graph whose nodes are asked for next; what it takes is lifted."""
        paths = {
            node: _module_path(node) or self._owner_of_parameters(node)
            for node in graph.nodes
            if node.op == "call_function" and node.target is not operator.getitem
        }
        self._paths |= paths
        self._counts[graph] = Counter(paths.values())

    def of(self, node: fx.Node) -> str:
        """The module that called a node where it called nothing else, else that with the node's name behind."""
        path = self._paths.get(node, "")
        alone = path and self._counts[node.graph][path] == 1
        return fresh_name(path if alone else ".".join(filter(None, (path, node.name))), self._taken)

    def _owner_of_parameters(self, node: fx.Node) -> str:
        """Of the first parameter that an operator reads: bodies of torch.cond and loops know nothing of modules."""
        if not isinstance(node.target, torch._ops.OpOverload):
            return ""
        for source in node.all_input_nodes:
            value = self._values.get(source)
            if isinstance(value, AtenValue) and value.parameter is not None and "." in value.name:
                return value.name.rpartition(".")[0]
        return ""


def _module_path(node: fx.Node) -> str:
    stack = node.meta.get("nn_module_stack") or {}
    return str(list(stack.values())[-1][0]) if stack else ""
