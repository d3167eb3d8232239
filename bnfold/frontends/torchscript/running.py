"""Running a graph to look at what it makes: the module that it belongs to, and the graph, stay as they were."""

import copy
from collections.abc import Sequence
from typing import Any

import torch

from bnfold.frontends.torchscript.ir import IrGraph, all_nodes


class Runner:
    """Runs a graph, every time from the state that its module has now.

    Args:
        name: of the function that it becomes.
        module: what its first input stands for.
        graph: inlined.
    """

    def __init__(self, name: str, module: torch.jit.ScriptModule, graph: IrGraph) -> None:
        self._root = module._c
        self._function = torch._C._create_function_from_graph(name, graph)
        # Tensors in the code, which a copy of the module does not copy.
        self._constants = [
            node.t("value")
            for node in all_nodes(graph)
            if node.kind() == "prim::Constant" and node.hasAttribute("value") and node.kindOf("value") == "t"
        ]

    def __call__(self, arguments: Sequence[Any]) -> Any:  # noqa: ANN401 - whatever the graph returns
        """What the graph returns for the arguments of forward."""
        before = [constant.clone() for constant in self._constants]
        try:
            with torch.no_grad(), torch.random.fork_rng(devices=[]):
                return self._function(copy.deepcopy(self._root), *copy.deepcopy(list(arguments)))
        finally:
            for constant, values in zip(self._constants, before, strict=True):
                with torch.no_grad():
                    constant.copy_(values)
